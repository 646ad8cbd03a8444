import type { BatchResult, RaggedBatch, Slice } from '../engine/batch.ts';
import type { Clock } from '../protocol/clock.ts';
import { SkeinError } from '../protocol/errors.ts';
import { STEP_TIMEOUT_MS } from '../protocol/limits.ts';

/**
 * A slice whose passes may take as long as the most patient requester waits, and no longer: some drivers neither finish what
 * they were given nor tell that they will not.
 * @param slice is disposed with the returned one.
 * @param onHang hears of the pass that takes longer; it goes on, should it end after all.
 */
export function watchedSlice(slice: Slice, clock: Clock, onHang: (error: SkeinError) => void): Slice {
  const forward = async (batch: RaggedBatch): Promise<BatchResult> => {
    const cancel = clock.after(STEP_TIMEOUT_MS, () => onHang(hungError()));
    try {
      return await slice.forward(batch);
    } finally {
      cancel();
    }
  };
  return {
    hiddenSize: slice.hiddenSize,
    vocabSize: slice.vocabSize,
    hasEmbedding: slice.hasEmbedding,
    hasHead: slice.hasHead,
    blockCount: slice.blockCount,
    contextLength: slice.contextLength,
    maxBatchRows: slice.maxBatchRows,
    maxBatchSequences: slice.maxBatchSequences,
    forward,
    copyBlocks: (copies) => slice.copyBlocks(copies),
    dispose: () => slice.dispose(),
  };
}

function hungError(): SkeinError {
  return new SkeinError(
    'device-lost',
    `The GPU did not finish a step in ${STEP_TIMEOUT_MS / 1000} s, so it counts as lost.`,
    { data: { reason: 'hung' } },
  );
}
