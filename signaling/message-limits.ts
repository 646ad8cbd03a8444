import { SkeinError } from '../src/protocol/errors.ts';
import type { ClientMessage } from '../src/protocol/signaling.ts';
import { TokenBucket } from '../src/protocol/token-bucket.ts';
import type { AddressLimits } from './address-book.ts';
import {
  BYTES_PER_MESSAGE_TOKEN,
  MESSAGE_BURST,
  MESSAGES_PER_SECOND,
  PLACEMENT_BURST,
  PLACEMENTS_PER_SECOND,
  SUSPECT_BURST,
  SUSPECTS_PER_SECOND,
} from './limits.ts';

/** After each of these everybody's place is thought over, and all pages are told. */
const PLACEMENTS: ReadonlySet<ClientMessage['type']> = new Set(['join', 'leave', 'load-failed', 'reloading']);

/** How much one socket may say, and with it all sockets of its address. */
export class MessageLimits {
  readonly #isFree: () => boolean;
  readonly #address: AddressLimits;
  readonly #messages: TokenBucket;
  readonly #placements: TokenBucket;
  readonly #suspects: TokenBucket;

  /** @param isFree of the socket of somebody who may say as much as there is to say: the server's own gateway. */
  constructor(address: AddressLimits, nowMs: number, isFree: () => boolean = () => false) {
    this.#isFree = isFree;
    this.#address = address;
    this.#messages = new TokenBucket(MESSAGE_BURST, MESSAGES_PER_SECOND, nowMs);
    this.#placements = new TokenBucket(PLACEMENT_BURST, PLACEMENTS_PER_SECOND, nowMs);
    this.#suspects = new TokenBucket(SUSPECT_BURST, SUSPECTS_PER_SECOND, nowMs);
  }

  /** Before anything of it is read. @throws SkeinError `busy` for one too many; long ones count as several. */
  takeMessage(sizeBytes: number, nowMs: number): void {
    if (this.#isFree()) return;
    const cost = 1 + Math.floor(sizeBytes / BYTES_PER_MESSAGE_TOKEN);
    if (!this.#messages.take(nowMs, cost)) throw tooMany(`${MESSAGES_PER_SECOND} messages`, 'socket');
    if (!this.#address.messages.take(nowMs, cost)) throw tooMany('so many messages', 'address');
  }

  /** @throws SkeinError `busy` for one too many of those that make work for everybody. */
  takeType(type: ClientMessage['type'], nowMs: number): void {
    if (this.#isFree()) return;
    if (type === 'suspect' && !this.#suspects.take(nowMs)) {
      throw tooMany(`${SUSPECTS_PER_SECOND} suspicions`, 'socket');
    }
    if (!PLACEMENTS.has(type)) return;
    if (!this.#placements.take(nowMs)) throw tooMany(`${PLACEMENTS_PER_SECOND} "${type}"`, 'socket');
    if (!this.#address.placements.take(nowMs)) throw tooMany(`so many "${type}"`, 'address');
  }
}

function tooMany(what: string, whose: string): SkeinError {
  return new SkeinError('busy', `More than ${what} per second of one ${whose}. Slow down.`);
}
