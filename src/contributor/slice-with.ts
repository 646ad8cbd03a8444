import type { Slice } from '../engine/batch.ts';

/** A slice that does some things in another way, and is the given one in all else. @param slice lives at least as long. */
export function sliceWith(slice: Slice, changes: Partial<Pick<Slice, 'forward' | 'dispose'>>): Slice {
  return {
    hiddenSize: slice.hiddenSize,
    vocabSize: slice.vocabSize,
    hasEmbedding: slice.hasEmbedding,
    hasHead: slice.hasHead,
    blockCount: slice.blockCount,
    contextLength: slice.contextLength,
    maxBatchRows: slice.maxBatchRows,
    maxBatchSequences: slice.maxBatchSequences,
    forward: (batch) => slice.forward(batch),
    copyBlocks: (copies) => slice.copyBlocks(copies),
    dispose: () => slice.dispose(),
    ...changes,
  };
}
