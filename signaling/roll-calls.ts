import type { PeerId } from '../src/protocol/ids.ts';
import { ROLL_CALL_MS, ROLL_CALL_REST_MS } from './limits.ts';

interface RollCall {
  readonly nonce: number;
  readonly askedMs: number;
  readonly isAnswered: boolean;
}

/** Who was asked for a sign of life, and has not given one yet. Time is told. */
export class RollCalls {
  readonly #calls = new Map<PeerId, RollCall>();
  readonly #newNonce: () => number;

  constructor(newNonce: () => number) {
    this.#newNonce = newNonce;
  }

  /** @returns the nonce to ask with; null where it was asked a short while ago, which is as good. */
  begin(peer: PeerId, nowMs: number): number | null {
    if (this.#calls.has(peer)) return null;
    const nonce = this.#newNonce();
    this.#calls.set(peer, { nonce, askedMs: nowMs, isAnswered: false });
    return nonce;
  }

  /** @param nonce of its answer; null for any other word that shows as much. */
  answered(peer: PeerId, nonce: number | null): void {
    const call = this.#calls.get(peer);
    if (call === undefined || (nonce !== null && nonce !== call.nonce)) return;
    this.#calls.set(peer, { ...call, isAnswered: true });
  }

  forget(peer: PeerId): void {
    this.#calls.delete(peer);
  }

  /** @returns those whose time is over, who are forgotten. To be called as time passes. */
  takeOverdue(nowMs: number): PeerId[] {
    const overdue: PeerId[] = [];
    for (const [peer, { askedMs, isAnswered }] of this.#calls) {
      const limitMs = isAnswered ? ROLL_CALL_REST_MS : ROLL_CALL_MS;
      if (nowMs - askedMs < limitMs) continue;
      this.#calls.delete(peer);
      if (!isAnswered) overdue.push(peer);
    }
    return overdue;
  }
}
