import { SkeinError } from '../protocol/errors.ts';
import { BLOCK_TOKENS } from './batch.ts';
import type { BatchSequence, RaggedBatch, Slice } from './batch.ts';
import type { SampleRow } from './kernels/sample-rows.ts';
import { PREFILL_MIN_ROWS, PREFILL_TILE_ROWS } from './step.ts';
import type { StepShape } from './step.ts';

/** A batch as the kernels read it; layouts are in step.ts. */
export interface BatchTables {
  readonly step: StepShape;
  readonly rowInfo: Uint32Array<ArrayBuffer>;
  readonly blockTables: Uint32Array<ArrayBuffer>;
  readonly decodeInfo: Uint32Array<ArrayBuffer>;
  readonly prefillInfo: Uint32Array<ArrayBuffer>;
  readonly headInfo: Uint32Array<ArrayBuffer>;
  readonly samples: readonly SampleRow[];
}

/** What a batch is held against: kernels clamp what lies outside their buffers to a wrong answer, so it must not reach them. */
export type BatchLimits = Pick<
  Slice,
  | 'hiddenSize'
  | 'hasEmbedding'
  | 'hasHead'
  | 'blockCount'
  | 'contextLength'
  | 'maxBatchRows'
  | 'maxBatchSequences'
> & {
  readonly vocabSize: number;
  /** Rows that may go through the head in one pass. */
  readonly maxHeadRows: number;
};

/** @throws SkeinError `bad-argument` saying what does not fit. */
export function buildBatchTables(batch: RaggedBatch, limits: BatchLimits): BatchTables {
  checkBatch(batch, limits);
  const { sequences } = batch;
  const blockTableStride = Math.max(...sequences.map(blocksUsed));
  const blockTables = new Uint32Array(sequences.length * blockTableStride);
  const rowInfo: number[] = [];
  const decodeInfo: number[] = [];
  const prefillInfo: number[] = [];
  const headInfo: number[] = [];
  const samples: SampleRow[] = [];
  let firstRow = 0;
  let maxDecodeKeys = 0;
  for (const [index, sequence] of sequences.entries()) {
    const { rowCount, cacheLength, blockTable, head } = sequence;
    const end = cacheLength + rowCount;
    const rows = Array.from({ length: rowCount }, (_, offset) => firstRow + offset);
    blockTables.set(blockTable.slice(0, blocksUsed(sequence)), index * blockTableStride);
    for (let position = cacheLength; position < end; position++) rowInfo.push(index, position);
    if (rowCount < PREFILL_MIN_ROWS) {
      rows.forEach((row, offset) => decodeInfo.push(row, 1, index, cacheLength + offset));
      maxDecodeKeys = Math.max(maxDecodeKeys, end);
    } else {
      for (let offset = 0; offset < rowCount; offset += PREFILL_TILE_ROWS) {
        const tileRows = Math.min(PREFILL_TILE_ROWS, rowCount - offset);
        prefillInfo.push(firstRow + offset, tileRows, index, cacheLength + offset);
      }
    }
    if (limits.hasHead && head.kind === 'sample') {
      const { params, adjustments, mask } = head;
      samples.push({
        headRow: headInfo.length,
        position: end,
        params,
        ...(adjustments && { adjustments }),
        ...(mask && { mask }),
      });
      headInfo.push(firstRow + rowCount - 1);
    } else if (limits.hasHead && head.kind === 'logits') {
      headInfo.push(...rows);
    }
    firstRow += rowCount;
  }
  if (headInfo.length > limits.maxHeadRows) {
    throw new SkeinError(
      'bad-argument',
      `A batch wants logits of ${headInfo.length} rows, and this slice has room for ${limits.maxHeadRows}.`,
    );
  }
  return {
    step: {
      rows: firstRow,
      blockTableStride,
      decodeRows: decodeInfo.length / 4,
      maxDecodeKeys,
      prefillTiles: prefillInfo.length / 4,
      headRows: headInfo.length,
      sampleRows: samples.length,
    },
    rowInfo: Uint32Array.from(rowInfo),
    blockTables,
    decodeInfo: Uint32Array.from(decodeInfo),
    prefillInfo: Uint32Array.from(prefillInfo),
    headInfo: Uint32Array.from(headInfo),
    samples,
  };
}

function blocksUsed({ cacheLength, rowCount }: BatchSequence): number {
  return Math.ceil((cacheLength + rowCount) / BLOCK_TOKENS);
}

function checkBatch({ sequences, input }: RaggedBatch, limits: BatchLimits): void {
  const refuse = (words: string): never => {
    throw new SkeinError('bad-argument', `A batch ${words}.`);
  };
  if (sequences.length === 0 || sequences.length > limits.maxBatchSequences) {
    refuse(`has ${sequences.length} sequences; it may have 1 to ${limits.maxBatchSequences}`);
  }
  for (const [index, sequence] of sequences.entries()) {
    const { rowCount, cacheLength, blockTable } = sequence;
    const end = cacheLength + rowCount;
    if (!isCount(rowCount) || rowCount === 0 || !isCount(cacheLength) || end > limits.contextLength) {
      refuse(
        `has ${rowCount} rows of sequence ${index} at position ${cacheLength}; positions go to ${limits.contextLength}`,
      );
    }
    const used = blockTable.slice(0, blocksUsed(sequence));
    if (used.length < blocksUsed(sequence)) {
      refuse(`brings ${used.length} blocks for the ${end} tokens of sequence ${index}`);
    }
    const stray = used.find((block) => !isCount(block) || block >= limits.blockCount);
    if (stray !== undefined) refuse(`uses block ${stray} of a cache with ${limits.blockCount}`);
  }
  const rows = sequences.reduce((sum, { rowCount }) => sum + rowCount, 0);
  if (rows > limits.maxBatchRows) refuse(`has ${rows} rows; it may have ${limits.maxBatchRows}`);
  const wanted = limits.hasEmbedding ? 'tokens' : 'activations';
  if (input.kind !== wanted) refuse(`brings ${input.kind} where this slice takes ${wanted}`);
  if (input.kind === 'activations') {
    if (input.values.length !== rows * limits.hiddenSize) {
      refuse(`brings ${input.values.length} values for ${rows} rows of ${limits.hiddenSize}`);
    }
    return;
  }
  if (input.tokenIds.length !== rows) refuse(`brings ${input.tokenIds.length} token ids for ${rows} rows`);
  const unknown = input.tokenIds.find((tokenId) => tokenId >= limits.vocabSize);
  if (unknown !== undefined) refuse(`brings token ${unknown}; the vocabulary has ${limits.vocabSize}`);
}

function isCount(value: number): boolean {
  return Number.isInteger(value) && value >= 0;
}
