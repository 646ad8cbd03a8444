import type { BatchResult, RaggedBatch, Slice } from '../engine/batch.ts';
import { summarizeTimes } from '../engine/profiler.ts';
import type { DispatchTime, KernelTime } from '../engine/profiler.ts';
import { sliceWith } from './slice-with.ts';

/** A timed step is slower than others: no more than one in this time. */
export const TIMED_STEP_INTERVAL_MS = 1_000;

/** A slice whose real steps are timed now and then: nothing is computed for the sake of timing. */
export interface TimedSlice extends Slice {
  /** Of the last step that was timed; empty before the first. */
  readonly kernelTimes: readonly KernelTime[];
}

/** A step with the times of its dispatches. */
export interface TimedStep {
  readonly result: BatchResult;
  readonly times: readonly DispatchTime[];
}

/** Does a slice's steps with timing. */
export interface StepTimer {
  forward(batch: RaggedBatch): Promise<TimedStep>;
  dispose(): void;
}

/**
 * @param slice does most steps; the timer and it are disposed with the returned one.
 * @param nowMs a monotonic clock.
 */
export function timedSlice(slice: Slice, timer: StepTimer, nowMs: () => number): TimedSlice {
  let kernelTimes: readonly KernelTime[] = [];
  let timedAtMs = -Infinity;
  const forward = async (batch: RaggedBatch): Promise<BatchResult> => {
    if (nowMs() - timedAtMs < TIMED_STEP_INTERVAL_MS) return slice.forward(batch);
    timedAtMs = nowMs();
    const { result, times } = await timer.forward(batch);
    kernelTimes = summarizeTimes([times]);
    return result;
  };
  const dispose = () => {
    timer.dispose();
    slice.dispose();
  };
  return {
    ...sliceWith(slice, { forward, dispose }),
    get kernelTimes() {
      return kernelTimes;
    },
  };
}
