import { SkeinError } from '../../src/protocol/errors.ts';
import { Allowance } from './allowance.ts';
import type { CallerRates } from './api-keys.ts';
import { FULL_RETRY_SECONDS } from './limits.ts';

/** Somebody who asks: a key, or an address without one. Counts what it does and says when that is too much. */
export class Caller {
  #rates: CallerRates = {};
  #requests: Allowance | null = null;
  #tokens: Allowance | null = null;
  #active = 0;

  /** @param name for the log. */
  constructor(
    readonly name: string,
    rates: CallerRates,
    nowMs: number,
  ) {
    this.setRates(rates, nowMs);
  }

  /** A rate that stays keeps what was taken of it. */
  setRates(rates: CallerRates, nowMs: number): void {
    const { requestsPerMinute, tokensPerMinute } = rates;
    if (requestsPerMinute !== this.#rates.requestsPerMinute)
      this.#requests = allowance(requestsPerMinute, nowMs);
    if (tokensPerMinute !== this.#rates.tokensPerMinute) this.#tokens = allowance(tokensPerMinute, nowMs);
    this.#rates = rates;
  }

  /** One more question; to be paired with `leave`. @throws SkeinError `busy` with `retryAfterSeconds` where it is one too many. */
  enter(nowMs: number): void {
    const { requestsPerMinute = 0, tokensPerMinute = 0, concurrent = Infinity } = this.#rates;
    if (this.#active >= concurrent) throw tooMany(`${concurrent} requests at a time`, FULL_RETRY_SECONDS);
    const tokenSeconds = this.#tokens?.secondsUntilOne(nowMs) ?? 0;
    if (tokenSeconds > 0) throw tooMany(`${tokensPerMinute} tokens per minute`, tokenSeconds);
    const requestSeconds = this.#requests?.secondsUntilOne(nowMs) ?? 0;
    if (requestSeconds > 0) throw tooMany(`${requestsPerMinute} requests per minute`, requestSeconds);
    this.#requests?.take(1, nowMs);
    this.#active += 1;
  }

  /** @param tokens of prompt and answer, as far as it came. */
  leave(tokens: number, nowMs: number): void {
    this.#active -= 1;
    this.#tokens?.take(tokens, nowMs);
  }

  /** Whether it may be forgotten: it does nothing, and owes nothing. */
  isIdle(nowMs: number): boolean {
    const isFull = (rate: Allowance | null) => rate?.isFull(nowMs) ?? true;
    return this.#active === 0 && isFull(this.#requests) && isFull(this.#tokens);
  }
}

function allowance(perMinute: number | undefined, nowMs: number): Allowance | null {
  return perMinute === undefined ? null : new Allowance(perMinute, nowMs);
}

function tooMany(what: string, seconds: number): SkeinError {
  const retryAfterSeconds = Math.ceil(seconds);
  return new SkeinError('busy', `More than ${what}. Ask again in ${retryAfterSeconds} s.`, {
    data: { retryAfterSeconds },
  });
}
