import type { Clock } from './clock.ts';

export interface TokenBucketOptions {
  readonly clock: Clock;
  /** Tokens in a full bucket, as it is at first. */
  readonly capacity: number;
  /** Time in which one token comes back. */
  readonly refillMs: number;
}

/** Rations something: a burst at once, and after that a steady rate. */
export class TokenBucket {
  readonly #options: TokenBucketOptions;
  #tokens: number;
  #countedAtMs: number;

  constructor(options: TokenBucketOptions) {
    this.#options = options;
    this.#tokens = options.capacity;
    this.#countedAtMs = options.clock.now();
  }

  /** Nothing was taken lately. */
  get isFull(): boolean {
    return this.#refilled() === this.#options.capacity;
  }

  /** @returns false, and takes nothing, where there are not so many tokens. */
  take(tokens = 1): boolean {
    this.#tokens = this.#refilled();
    this.#countedAtMs = this.#options.clock.now();
    if (this.#tokens < tokens) return false;
    this.#tokens -= tokens;
    return true;
  }

  /** Fractions included, so that no time is lost between two looks. */
  #refilled(): number {
    const { clock, capacity, refillMs } = this.#options;
    return Math.min(capacity, this.#tokens + (clock.now() - this.#countedAtMs) / refillMs);
  }
}
