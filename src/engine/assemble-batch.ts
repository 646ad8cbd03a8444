import type { HeadRequest, RaggedBatch, Slice } from './batch.ts';
import type { Sequence } from './sequence.ts';

/** Rows of a sequence in the batch that is computed next. */
export interface PlannedSequence {
  readonly sequence: Sequence;
  readonly rowCount: number;
  /** Position of the first row. */
  readonly position: number;
  /** Whether they are only put back in their place in the cache. */
  readonly isRecomputed: boolean;
  /** What becomes of its last row. */
  readonly head: HeadRequest;
}

/** Makes room for the planned rows, and copies them together. @throws SkeinError what the slice or the cache refuses. */
export function assembleBatch(planned: readonly PlannedSequence[], slice: Slice): RaggedBatch {
  const copies = planned.flatMap(({ sequence, rowCount }) => sequence.extend(rowCount));
  if (copies.length > 0) slice.copyBlocks(copies);
  const rows = planned.reduce((sum, { rowCount }) => sum + rowCount, 0);
  const input: RaggedBatch['input'] = slice.hasEmbedding
    ? { kind: 'tokens', tokenIds: new Uint32Array(rows) }
    : { kind: 'activations', values: new Float32Array(rows * slice.hiddenSize) };
  let firstRow = 0;
  const sequences = planned.map(({ sequence, rowCount, position, head }) => {
    sequence.writeRows(rowCount, input, firstRow, slice.hiddenSize);
    firstRow += rowCount;
    return { rowCount, cacheLength: position, blockTable: sequence.blockTable, head };
  });
  return { sequences, input };
}
