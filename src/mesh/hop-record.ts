import type { PeerId } from '../protocol/ids.ts';
import type { HopState, HopWatch } from './find-culprit.ts';

/** A hop that was heard of answers within this; links with a lot under way included. */
const ANSWER_MS = { decoding: 3_000, prefilling: 5_000 };
/** One that was never heard of may still be dialled by the hop before it. */
const REACHED_MS = 10_000;

/** What one hop answered during a silence. */
export class HopRecord {
  /** When it was first heard of on this route. */
  #heardAtMs: number | null = null;
  #state: HopState | null = null;
  /** Of the oldest question without an answer. */
  #askedAtMs: number | null = null;
  #answeredAtMs = 0;
  /** Since when its passes and what it sent are what they are now; null before the first answer. */
  #standing: { readonly steps: number; readonly sentUpTo: number; readonly sinceMs: number } | null = null;
  #mostSent = 0;

  constructor(readonly peer: PeerId) {}

  /** Whether the latest question is answered. */
  get isAnswered(): boolean {
    return this.#state !== null;
  }

  get heardAtMs(): number | null {
    return this.#heardAtMs;
  }

  /** It took part in what came from the last hop. */
  heard(nowMs: number): void {
    this.#heardAtMs ??= nowMs;
  }

  /** A question is on its way: the answers so far are out of date. */
  ask(): void {
    this.#state = null;
  }

  /** The question can be answered from now on. */
  expect(nowMs: number): void {
    this.#askedAtMs ??= nowMs;
  }

  /**
   * @param isLatest whether it answers the latest question.
   * @returns what has changed since its last answer: more rows of this request, or passes, or rows that are sent again.
   */
  answer(state: HopState, isLatest: boolean, nowMs: number): 'rows' | 'steps' | 'nothing' {
    this.heard(nowMs);
    if (isLatest) this.#state = state;
    this.#askedAtMs = isLatest ? null : nowMs;
    this.#answeredAtMs = nowMs;
    const { steps, sentUpTo } = state;
    const before = this.#standing;
    const hasMoved = before !== null && (before.steps !== steps || before.sentUpTo !== sentUpTo);
    if (before === null || hasMoved) this.#standing = { steps, sentUpTo, sinceMs: nowMs };
    const hasSentMore = before !== null && sentUpTo > this.#mostSent;
    this.#mostSent = Math.max(this.#mostSent, sentUpTo);
    if (hasSentMore) return 'rows';
    return hasMoved ? 'steps' : 'nothing';
  }

  /** The silence is over. */
  forget(): void {
    this.#state = null;
    this.#askedAtMs = null;
    this.#standing = null;
  }

  /**
   * @param before the hop before this one, which dials it; null for the first.
   */
  watch(nowMs: number, before: HopRecord | null, isDecoding: boolean): HopWatch {
    // Nobody can be asked through a hop that was not heard of.
    const reachableAtMs = before === null ? 0 : (before.#heardAtMs ?? nowMs);
    const askedAtMs = Math.max(this.#askedAtMs ?? nowMs, reachableAtMs);
    const isReached = before === null || this.#heardAtMs !== null;
    const answerMs = isDecoding ? ANSWER_MS.decoding : ANSWER_MS.prefilling;
    return {
      peer: this.peer,
      state: this.#state,
      unansweredMs: nowMs - askedAtMs,
      isReached,
      answerMs: isReached ? answerMs : REACHED_MS,
      stalledMs: this.#standing === null ? 0 : this.#answeredAtMs - this.#standing.sinceMs,
    };
  }
}
