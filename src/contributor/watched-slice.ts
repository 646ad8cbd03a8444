import type { BatchResult, RaggedBatch, Slice } from '../engine/batch.ts';
import type { Clock } from '../protocol/clock.ts';
import { SkeinError } from '../protocol/errors.ts';
import { STEP_TIMEOUT_MS } from '../protocol/limits.ts';
import { sliceWith } from './slice-with.ts';

/**
 * A slice that tells when its device is of no use any more: a pass says so, or takes longer than the most patient requester
 * waits. Some drivers neither finish what they were given nor tell that they will not.
 * @param slice is disposed with the returned one.
 * @param onLost may be called more than once. A pass that takes too long goes on, should it end after all.
 */
export function watchedSlice(slice: Slice, clock: Clock, onLost: (error: SkeinError) => void): Slice {
  const forward = async (batch: RaggedBatch): Promise<BatchResult> => {
    const cancel = clock.after(STEP_TIMEOUT_MS, () => onLost(hungError()));
    try {
      return await slice.forward(batch);
    } catch (thrown) {
      if (thrown instanceof SkeinError && thrown.code === 'device-lost') onLost(thrown);
      throw thrown;
    } finally {
      cancel();
    }
  };
  return sliceWith(slice, { forward });
}

function hungError(): SkeinError {
  return new SkeinError(
    'device-lost',
    `The GPU did not finish a step in ${STEP_TIMEOUT_MS / 1000} s, so it counts as lost.`,
    { data: { reason: 'hung' } },
  );
}
