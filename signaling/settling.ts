import type { PeerId } from '../src/protocol/ids.ts';
import {
  LOSS_SETTLE_MS,
  MAX_KNOWN_PEERS,
  MAX_LOSS_SETTLE_MS,
  MAX_RESUME_SETTLE_MS,
  RESTART_WATCH_MS,
  RESUME_SETTLE_MS,
} from './limits.ts';

/**
 * When to wait for peers that may be about to come back. A server that was restarted knows nobody, and those who come back
 * tell one after the other what they hold; a peer whose connection broke, and that still answers over its links, is back
 * within a second. What is decided before costs others their work for nothing. Time is told, in milliseconds of a clock that
 * never goes back.
 */
export class Settling {
  readonly #startedMs: number;
  /** Peers that were greeted since the start: that one of them comes back says nothing about a restart. */
  readonly #known = new Set<PeerId>();
  readonly #returns = new Span(RESUME_SETTLE_MS, MAX_RESUME_SETTLE_MS);
  readonly #losses = new Span(LOSS_SETTLE_MS, MAX_LOSS_SETTLE_MS);

  constructor(startedMs: number) {
    this.#startedMs = startedMs;
  }

  /** @param isResumed whether it showed a token for its id. */
  greeted(peer: PeerId, isResumed: boolean, nowMs: number): void {
    if (nowMs - this.#startedMs >= RESTART_WATCH_MS) {
      this.#known.clear();
      return;
    }
    if (isResumed && !this.#known.has(peer)) this.#returns.prolong(nowMs);
    if (this.#known.size < MAX_KNOWN_PEERS) this.#known.add(peer);
  }

  /** The socket of a peer that lends its device is gone, and it did not say that it leaves. */
  lost(nowMs: number): void {
    this.#losses.prolong(nowMs);
  }

  /** Nothing is to be given out: after a restart, those who hold it may still come. */
  isOpen(nowMs: number): boolean {
    return this.#returns.isOpen(nowMs);
  }

  /** Nobody who holds something is to be moved for what was lost: it may be back in a moment. */
  holdsMoves(nowMs: number): boolean {
    return this.isOpen(nowMs) || this.#losses.isOpen(nowMs);
  }
}

/** Lasts for a while after the last of several events, and for a longer while after the first at most. */
class Span {
  readonly #restMs: number;
  readonly #longestMs: number;
  #firstMs = -Infinity;
  #endsMs = -Infinity;

  constructor(restMs: number, longestMs: number) {
    this.#restMs = restMs;
    this.#longestMs = longestMs;
  }

  isOpen(nowMs: number): boolean {
    return nowMs < this.#endsMs;
  }

  prolong(nowMs: number): void {
    if (!this.isOpen(nowMs)) this.#firstMs = nowMs;
    this.#endsMs = Math.min(nowMs + this.#restMs, this.#firstMs + this.#longestMs);
  }
}
