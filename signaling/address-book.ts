import { TokenBucket } from '../src/protocol/token-bucket.ts';
import { addressKey } from './address-key.ts';
import {
  ADDRESS_CONNECTION_BURST,
  ADDRESS_CONNECTIONS_PER_SECOND,
  ADDRESS_MESSAGE_BURST,
  ADDRESS_MESSAGES_PER_SECOND,
  ADDRESS_PLACEMENT_BURST,
  ADDRESS_PLACEMENTS_PER_SECOND,
  MAX_ADDRESSES,
  MAX_SOCKETS_PER_ADDRESS,
} from './limits.ts';

/** What all sockets of one address may do together. */
export interface AddressLimits {
  readonly connections: TokenBucket;
  readonly messages: TokenBucket;
  /** Of messages after which everybody's place is thought over. */
  readonly placements: TokenBucket;
}

interface Entry extends AddressLimits {
  sockets: number;
}

/** Who is connected from where, and how much comes from there. It forgets an address once nothing came from it for a while. */
export class AddressBook {
  readonly #maxSockets: number;
  /** Those heard of longest ago come first. */
  readonly #entries = new Map<string, Entry>();

  constructor(maxSockets = MAX_SOCKETS_PER_ADDRESS) {
    this.#maxSockets = maxSockets;
  }

  /** Addresses that it remembers. */
  get size(): number {
    return this.#entries.size;
  }

  /** Whether one more socket may be opened from there, now. An attempt that is refused costs nothing. */
  mayOpen(address: string, nowMs: number): boolean {
    const entry = this.#entryOf(address, nowMs);
    return entry.sockets < this.#maxSockets && entry.connections.take(nowMs);
  }

  /** To be paired with `closed`. */
  opened(address: string, nowMs: number): AddressLimits {
    const entry = this.#entryOf(address, nowMs);
    entry.sockets += 1;
    return entry;
  }

  closed(address: string): void {
    const entry = this.#entries.get(addressKey(address));
    if (entry !== undefined) entry.sockets -= 1;
  }

  /** To be called as time passes. */
  prune(nowMs: number): void {
    for (const [key, entry] of this.#entries) if (isIdle(entry, nowMs)) this.#entries.delete(key);
  }

  #entryOf(address: string, nowMs: number): Entry {
    const key = addressKey(address);
    const entry = this.#entries.get(key) ?? {
      sockets: 0,
      connections: new TokenBucket(ADDRESS_CONNECTION_BURST, ADDRESS_CONNECTIONS_PER_SECOND, nowMs),
      messages: new TokenBucket(ADDRESS_MESSAGE_BURST, ADDRESS_MESSAGES_PER_SECOND, nowMs),
      placements: new TokenBucket(ADDRESS_PLACEMENT_BURST, ADDRESS_PLACEMENTS_PER_SECOND, nowMs),
    };
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    if (this.#entries.size > MAX_ADDRESSES) this.#dropOldest(entry);
    return entry;
  }

  /** One without sockets, of which there are always some: there are fewer sockets than addresses. */
  #dropOldest(kept: Entry): void {
    for (const [key, entry] of this.#entries) {
      if (entry.sockets > 0 || entry === kept) continue;
      this.#entries.delete(key);
      return;
    }
  }
}

function isIdle({ sockets, connections, messages, placements }: Entry, nowMs: number): boolean {
  return sockets === 0 && [connections, messages, placements].every((bucket) => bucket.isFull(nowMs));
}
