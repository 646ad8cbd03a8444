import type { PeerId } from '../src/protocol/ids.ts';
import { MAX_RESUME_SETTLE_MS, RESTART_WATCH_MS, RESUME_SETTLE_MS } from './limits.ts';

/**
 * A server that was restarted knows nobody, and those who come back tell one after the other what they hold. Until they are
 * likely to be all here, moving anybody would be for nothing. Time is told, in milliseconds of a clock that never goes back.
 */
export class Settling {
  readonly #startedMs: number;
  /** Peers that were greeted since the start: that one of them comes back says nothing about a restart. */
  readonly #known = new Set<PeerId>();
  #firstMs = -Infinity;
  #endsMs = -Infinity;

  constructor(startedMs: number) {
    this.#startedMs = startedMs;
  }

  /** @param isResumed whether it showed a token for its id. */
  greeted(peer: PeerId, isResumed: boolean, nowMs: number): void {
    if (nowMs - this.#startedMs >= RESTART_WATCH_MS) {
      this.#known.clear();
      return;
    }
    if (isResumed && !this.#known.has(peer)) this.#prolong(nowMs);
    this.#known.add(peer);
  }

  isOpen(nowMs: number): boolean {
    return nowMs < this.#endsMs;
  }

  #prolong(nowMs: number): void {
    if (!this.isOpen(nowMs)) this.#firstMs = nowMs;
    this.#endsMs = Math.min(nowMs + RESUME_SETTLE_MS, this.#firstMs + MAX_RESUME_SETTLE_MS);
  }
}
