import type { SkeinError } from '../protocol/errors.ts';
import type { PeerId } from '../protocol/ids.ts';
import {
  BAN_MS,
  DIAL_REFILL_MS,
  MAX_DIAL_BURST,
  MAX_STRIKES,
  MAX_WATCHED_PEERS,
  STRIKE_REFILL_MS,
} from '../protocol/limits.ts';
import { TokenBucket } from '../protocol/token-bucket.ts';
import type { Clock } from './clock.ts';
import { peerError } from './peer-errors.ts';

interface Watched {
  readonly strikes: TokenBucket;
  /** Connections it may have this side begin. */
  readonly dials: TokenBucket;
  ban: { readonly error: SkeinError; readonly untilMs: number } | null;
}

/** What peers did that nobody honest does. Some of it is forgiven; who goes on is banned for a while. */
export class Conduct {
  readonly #clock: Clock;
  /** Those that did something last come last. */
  readonly #records = new Map<PeerId, Watched>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Peers that are remembered. */
  get watched(): number {
    return this.#records.size;
  }

  /** Why the peer gets no link now; null where it may have one. */
  banOf(peer: PeerId): SkeinError | null {
    const ban = this.#records.get(peer)?.ban;
    return ban && this.#clock.now() < ban.untilMs ? ban.error : null;
  }

  /**
   * @param weight how bad it was; MAX_STRIKES and more is a ban at once.
   * @returns the reason of the ban, where this was too much; null where it is forgiven, or the peer is banned already.
   */
  strike(peer: PeerId, reason: SkeinError, weight = 1): SkeinError | null {
    if (this.banOf(peer)) return null;
    const record = this.#recordOf(peer);
    if (weight < MAX_STRIKES && record.strikes.take(this.#clock.now(), weight)) return null;
    const error = peerError(
      reason.code,
      peer,
      `was cut off for ${BAN_MS / 1000} s for what it sent: ${reason.message}`,
      reason,
    );
    record.ban = { error, untilMs: this.#clock.now() + BAN_MS };
    return error;
  }

  /** Another connection is begun because the peer wants one. @returns whether it may. */
  dial(peer: PeerId): boolean {
    return this.#recordOf(peer).dials.take(this.#clock.now());
  }

  #recordOf(peer: PeerId): Watched {
    const known = this.#records.get(peer);
    const nowMs = this.#clock.now();
    const record = known ?? {
      strikes: new TokenBucket(MAX_STRIKES, 1000 / STRIKE_REFILL_MS, nowMs),
      dials: new TokenBucket(MAX_DIAL_BURST, 1000 / DIAL_REFILL_MS, nowMs),
      ban: null,
    };
    this.#records.delete(peer);
    if (!known) this.#makeRoom();
    this.#records.set(peer, record);
    return record;
  }

  #hasDoneNothing(peer: PeerId): boolean {
    const record = this.#records.get(peer);
    const nowMs = this.#clock.now();
    return record === undefined || (record.strikes.isFull(nowMs) && record.dials.isFull(nowMs));
  }

  /** Whoever invents peers to be forgotten needs as many of them as links to here were made. */
  #makeRoom(): void {
    if (this.#records.size < MAX_WATCHED_PEERS) return;
    const idle = [...this.#records.keys()].find((peer) => !this.banOf(peer) && this.#hasDoneNothing(peer));
    const oldest = idle ?? this.#records.keys().next().value;
    if (oldest !== undefined) this.#records.delete(oldest);
  }
}
