import type { KernelTime } from '../engine/profiler.ts';
import type { StageStats } from './contributor-state.ts';

/** Rates are over this long: short enough to follow what happens, long enough to be read. */
const WINDOW_MS = 5_000;

/** Running totals of a stage, as its executor counts them. */
export interface StageTotals {
  readonly activeSequences: number;
  /** Token rows since the start. */
  readonly rowsComputed: number;
  /** Time in forward passes since the start. */
  readonly busyMs: number;
  /** Forward passes since the start. */
  readonly steps: number;
  readonly freeCacheTokens: number;
  readonly cacheTokens: number;
  readonly activationRowsSent: number;
  readonly activationBytesSent: number;
  readonly kernelTimes?: readonly KernelTime[];
}

/** Turns running totals into rates over a sliding window. */
export class StatsMeter {
  #samples: { readonly atMs: number; readonly totals: StageTotals }[] = [];

  /** @param nowMs monotonic, later than the sample before. */
  sample(totals: StageTotals, nowMs: number): StageStats {
    // The newest sample that is a whole window old stays, as the window's start.
    const old = this.#samples.findLastIndex(({ atMs }) => nowMs - atMs >= WINDOW_MS);
    this.#samples = [...this.#samples.slice(Math.max(old, 0)), { atMs: nowMs, totals }];
    const start = this.#samples[0] ?? { atMs: nowMs, totals };
    const elapsedMs = nowMs - start.atMs;
    const share = (amount: number) => (elapsedMs > 0 ? amount / elapsedMs : 0);
    return {
      activeSequences: totals.activeSequences,
      tokens: totals.rowsComputed,
      tokensPerSecond: share(totals.rowsComputed - start.totals.rowsComputed) * 1000,
      // A pass that spans the window's start is booked whole when it ends.
      busyShare: Math.min(1, share(totals.busyMs - start.totals.busyMs)),
      atMs: nowMs,
      steps: totals.steps,
      busyMs: totals.busyMs,
      freeCacheTokens: totals.freeCacheTokens,
      cacheTokens: totals.cacheTokens,
      activationRowsSent: totals.activationRowsSent,
      activationBytesSent: totals.activationBytesSent,
      ...(totals.kernelTimes && { kernelTimes: totals.kernelTimes }),
    };
  }
}
