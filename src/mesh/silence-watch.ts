import type { SkeinError } from '../protocol/errors.ts';
import type { PeerId } from '../protocol/ids.ts';
import { DIAL_TIMEOUT_MS, STEP_TIMEOUT_MS } from '../protocol/limits.ts';
import type { Clock } from './clock.ts';
import { findCulprit, LEAST_STALL_MS } from './find-culprit.ts';
import type { Finding, HopState, RowsFed } from './find-culprit.ts';
import { HopRecord } from './hop-record.ts';
import { hungError, silenceError } from './silence-errors.ts';
import { TokenGaps } from './token-gaps.ts';

/** After a silence of this long the hops are asked, before anybody is suspected: later answers are held against the first. */
export const FIRST_QUESTION_MS = 1_000;
/** Two answers in a row tell whether a stage stands still: a little more than that takes. */
export const QUESTION_INTERVAL_MS = LEAST_STALL_MS + 100;
/** Hops of a route that takes its time for every token are not asked between any two. */
const GAPS_OF_PATIENCE = 4;
/**
 * A stage that computes may have nothing for one request for minutes, because younger requests wait for the blocks of older ones.
 * One that claims this for longer is not believed.
 */
export const MOST_PATIENCE_MS = 150_000;

export interface SilenceWatchOptions {
  readonly clock: Clock;
  /** At least one. */
  readonly hops: readonly PeerId[];
  /** Asks every hop. Resolves when the question is on its way to the first one, or never can be. */
  readonly ask: (nonce: number) => Promise<void>;
  /**
   * Called once: the route is to be given up, and this is why. The error names the hop in `data.peer` where it is known.
   * @param accuser the hop by whose word it is; null where it was seen from here.
   */
  readonly onHung: (error: SkeinError, accuser: PeerId | null) => void;
}

/** Watches over a route: when nothing comes for a while it asks the hops how far they are, and finds who hangs. */
export class SilenceWatch {
  readonly #options: SilenceWatchOptions;
  readonly #records: readonly HopRecord[];
  readonly #gaps = new TokenGaps();
  #fed: RowsFed = { upTo: 0, by: null };
  /** When a token came, or a row of this request was computed anywhere. */
  #progressAtMs: number;
  /** When anything was computed by the hop that all wait for, or by any. */
  #signAtMs: number;
  /** Of the latest question; 0 before the first. */
  #nonce = 0;
  /** Whether hops were asked since the last token. */
  #isAsking = false;
  /** Whether something came from the last hop. */
  #isLastReached = false;
  /** A verdict that has to stand for some time, and since which question it does. */
  #suspicion: { readonly key: string; readonly nonce: number; readonly sinceMs: number } | null = null;
  #cancel: () => void;
  #isOver = false;

  constructor(options: SilenceWatchOptions) {
    this.#options = options;
    this.#records = options.hops.map((peer) => new HopRecord(peer));
    this.#progressAtMs = options.clock.now();
    this.#signAtMs = this.#progressAtMs;
    this.#cancel = this.#later(FIRST_QUESTION_MS);
  }

  /** The hops know where they start. @param isFromLast whether all of them said so, and not the first alone. */
  opened(fed: RowsFed, isFromLast: boolean): void {
    if (isFromLast) this.#hearOfAll();
    this.#goOn(fed);
  }

  /** A token came. */
  token(fed: RowsFed): void {
    this.#gaps.add(this.#options.clock.now() - this.#progressAtMs);
    this.#hearOfAll();
    this.#goOn(fed);
  }

  /** A hop's answer to a question. */
  answer(hop: number, nonce: number, state: HopState): void {
    const record = this.#records[hop];
    if (this.#isOver || !this.#isAsking || record === undefined) return;
    const nowMs = this.#options.clock.now();
    const change = record.answer(state, nonce === this.#nonce, nowMs);
    if (change !== 'nothing') this.#signAtMs = nowMs;
    if (change === 'rows') this.#progressAtMs = nowMs;
    if (this.#records.every(({ isAnswered }) => isAnswered)) this.#judge();
  }

  /** Idempotent. */
  stop(): void {
    this.#isOver = true;
    this.#cancel();
  }

  #hearOfAll(): void {
    this.#isLastReached = true;
    const nowMs = this.#options.clock.now();
    for (const record of this.#records) record.heard(nowMs);
  }

  /** A store where nobody was asked, not a new timer: it happens for every token. */
  #goOn(fed: RowsFed): void {
    this.#fed = fed;
    this.#progressAtMs = this.#options.clock.now();
    this.#signAtMs = this.#progressAtMs;
    if (!this.#isAsking || this.#isOver) return;
    this.#isAsking = false;
    this.#suspicion = null;
    for (const record of this.#records) record.forget();
    this.#cancel();
    this.#cancel = this.#later(this.#patienceMs);
  }

  get #patienceMs(): number {
    return Math.max(FIRST_QUESTION_MS, GAPS_OF_PATIENCE * this.#gaps.medianMs);
  }

  #later(delayMs: number): () => void {
    return this.#options.clock.after(delayMs, () => this.#check());
  }

  #check(): void {
    const silentMs = this.#options.clock.now() - this.#progressAtMs;
    if (!this.#isAsking && silentMs < this.#patienceMs) {
      this.#cancel = this.#later(this.#patienceMs - silentMs);
      return;
    }
    if (this.#isAsking) this.#judge();
    if (this.#isOver) return;
    this.#isAsking = true;
    void this.#ask();
    this.#cancel = this.#later(QUESTION_INTERVAL_MS);
  }

  async #ask(): Promise<void> {
    this.#nonce = (this.#nonce + 1) >>> 0;
    const nonce = this.#nonce;
    const [first, ...others] = this.#records;
    for (const record of this.#records) record.ask();
    for (const record of others) record.expect(this.#options.clock.now());
    await this.#options.ask(nonce);
    // A dial that takes its time is not the silence of whom it is for.
    if (this.#isAsking && nonce === this.#nonce && !first?.isAnswered)
      first?.expect(this.#options.clock.now());
  }

  #judge(): void {
    const nowMs = this.#options.clock.now();
    const fed = this.#fed;
    const watches = this.#records.map((record, hop) => {
      return record.watch(nowMs, this.#records[hop - 1] ?? null, fed.by !== null);
    });
    const verdict = findCulprit(watches, fed);
    if (verdict.kind !== 'wait') {
      if (this.#stands(verdict, nowMs)) this.#hang(hungError(verdict), this.#hopBefore(verdict));
      else if (nowMs - this.#progressAtMs >= MOST_PATIENCE_MS)
        this.#hang(silenceError(MOST_PATIENCE_MS, null));
      return;
    }
    if (verdict.peer !== null) this.#suspicion = null;
    if (nowMs - this.#signAtMs >= STEP_TIMEOUT_MS) this.#hang(silenceError(STEP_TIMEOUT_MS, null));
    else if (nowMs - this.#progressAtMs >= MOST_PATIENCE_MS) {
      this.#hang(silenceError(MOST_PATIENCE_MS, verdict.peer));
    }
  }

  /** Answers come through the hops before: what is known of a hop is the word of the one before it, too. */
  #hopBefore(verdict: Finding): PeerId | null {
    const named = verdict.kind === 'contradiction' ? (verdict.sender ?? verdict.peer) : verdict.peer;
    const { hops } = this.#options;
    return hops[hops.indexOf(named) - 1] ?? null;
  }

  /** Whether it is certain. What hops say of each other is when it stays so: something may have been under way. */
  #stands(verdict: Finding, nowMs: number): boolean {
    if (verdict.kind === 'silent' || verdict.kind === 'stalled') return true;
    const key = JSON.stringify(verdict);
    const nonce = this.#nonce;
    if (this.#suspicion?.key !== key) this.#suspicion = { key, nonce, sinceMs: nowMs };
    // The last hop may have to dial the requester first.
    const isDialling = verdict.kind === 'withheld' && !this.#isLastReached;
    const enoughMs = isDialling ? DIAL_TIMEOUT_MS : LEAST_STALL_MS;
    return this.#suspicion.nonce !== nonce && nowMs - this.#suspicion.sinceMs >= enoughMs;
  }

  #hang(error: SkeinError, accuser: PeerId | null = null): void {
    this.stop();
    this.#options.onHung(error, accuser);
  }
}
