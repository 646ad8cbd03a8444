import { addressKey, isLoopback } from '../address-key.ts';
import { findApiKey } from './api-keys.ts';
import type { ApiKey } from './api-keys.ts';
import { Caller } from './caller.ts';
import type { KeyStore } from './key-file.ts';
import { ANONYMOUS_LIMITS, MAX_ANONYMOUS_CALLERS } from './limits.ts';

export interface CallersOptions {
  /** Null where the API is open to everybody. */
  readonly keys: KeyStore | null;
  readonly now: () => number;
}

/** Knows who asks: by key where there are keys, else by address. */
export class Callers {
  readonly #options: CallersOptions;
  /** By what is kept of their key. */
  readonly #withKey = new Map<string, Caller>();
  /** By address; those heard of longest ago come first. */
  readonly #anonymous = new Map<string, Caller>();

  constructor(options: CallersOptions) {
    this.#options = options;
  }

  /** @returns null for somebody without a key that is good. */
  async identify(headers: Headers, address: string): Promise<Caller | null> {
    const { keys } = this.#options;
    if (keys === null) return this.#atAddress(address);
    const known = await keys.keys();
    this.#forgetAllBut(known);
    const presented = presentedKey(headers);
    const key = presented === null ? null : findApiKey(presented, known);
    return key === null ? null : this.#ofKey(key);
  }

  #ofKey(key: ApiKey): Caller {
    const { name, sha256, requestsPerMinute, tokensPerMinute, concurrent } = key;
    const nowMs = this.#options.now();
    const rates = {
      ...(requestsPerMinute !== undefined && { requestsPerMinute }),
      ...(tokensPerMinute !== undefined && { tokensPerMinute }),
      ...(concurrent !== undefined && { concurrent }),
    };
    const caller = this.#withKey.get(sha256) ?? new Caller(name, rates, nowMs);
    caller.setRates(rates, nowMs);
    this.#withKey.set(sha256, caller);
    return caller;
  }

  #forgetAllBut(known: readonly ApiKey[]): void {
    if (this.#withKey.size <= known.length) return;
    const good = new Set(known.map(({ sha256 }) => sha256));
    for (const sha256 of this.#withKey.keys()) if (!good.has(sha256)) this.#withKey.delete(sha256);
  }

  /** On this machine everybody is the operator. */
  #atAddress(address: string): Caller {
    const nowMs = this.#options.now();
    const name = addressKey(address);
    const caller =
      this.#anonymous.get(name) ?? new Caller(name, isLoopback(address) ? {} : ANONYMOUS_LIMITS, nowMs);
    this.#anonymous.delete(name);
    this.#anonymous.set(name, caller);
    if (this.#anonymous.size > MAX_ANONYMOUS_CALLERS) this.#dropOldest(nowMs);
    return caller;
  }

  /** One that does nothing; where all do, they are as many as may be connected, and one too many is kept for a while. */
  #dropOldest(nowMs: number): void {
    for (const [name, caller] of this.#anonymous) {
      if (!caller.isIdle(nowMs)) continue;
      this.#anonymous.delete(name);
      return;
    }
  }
}

/** OpenAI's clients send `Authorization: Bearer`, Anthropic's `x-api-key`. */
export function presentedKey(headers: Headers): string | null {
  const bearer = /^Bearer +(\S+) *$/i.exec(headers.get('authorization') ?? '')?.[1];
  return bearer ?? headers.get('x-api-key');
}
