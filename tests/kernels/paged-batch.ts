import { BLOCK_TOKENS } from '../../src/engine/batch.ts';
import { PREFILL_TILE_ROWS } from '../../src/engine/step.ts';
import type { StepShape } from '../../src/engine/step.ts';
import { ONE_ROW } from './gpu.ts';
import type { TestGpu } from './gpu.ts';

/** The rows one sequence adds to a test batch, at positions `cacheLength`, `cacheLength + 1`, … . */
export interface PagedSequence {
  readonly cacheLength: number;
  readonly rowCount: number;
  readonly attendBy: 'decode' | 'prefill';
}

export interface PagedRow {
  readonly sequence: number;
  readonly position: number;
}

/** The tables of a ragged batch, as the kernels read them, with cache blocks scattered over the pool. */
export interface PagedBatch {
  readonly step: StepShape;
  readonly rows: readonly PagedRow[];
  /** Blocks of every sequence, in order of its tokens; neither sorted nor adjacent. */
  readonly blockTables: readonly (readonly number[])[];
  readonly blockCount: number;
  /** Per decode row: row, 1, sequence, position. */
  readonly decodeInfo: readonly number[];
  /** Per prefill tile: first row, rows, sequence, first position. */
  readonly prefillInfo: readonly number[];
}

/** Coprime to every pool below its own size, so that multiplying by it permutes the blocks. */
const SCATTER = 7919;

export function pagedBatch(sequences: readonly PagedSequence[]): PagedBatch {
  const blocksNeeded = sequences.map(({ cacheLength, rowCount }) =>
    Math.ceil((cacheLength + rowCount) / BLOCK_TOKENS),
  );
  // One block more than is needed: nobody's, and it must stay so.
  const blockCount = blocksNeeded.reduce((sum, count) => sum + count, 1);
  let taken = 0;
  const blockTables = blocksNeeded.map((count) =>
    Array.from({ length: count }, () => (++taken * SCATTER) % blockCount),
  );
  const rows: PagedRow[] = [];
  const decodeInfo: number[] = [];
  const prefillInfo: number[] = [];
  let maxDecodeKeys = 0;
  sequences.forEach(({ cacheLength, rowCount, attendBy }, sequence) => {
    for (let index = 0; index < rowCount; index++) {
      const row = rows.length;
      const position = cacheLength + index;
      rows.push({ sequence, position });
      if (attendBy === 'decode') {
        decodeInfo.push(row, 1, sequence, position);
        maxDecodeKeys = Math.max(maxDecodeKeys, position + 1);
      } else if (index % PREFILL_TILE_ROWS === 0) {
        prefillInfo.push(row, Math.min(PREFILL_TILE_ROWS, rowCount - index), sequence, position);
      }
    }
  });
  const step: StepShape = {
    ...ONE_ROW,
    rows: rows.length,
    blockTableStride: Math.max(...blocksNeeded) + 1,
    decodeRows: decodeInfo.length / 4,
    maxDecodeKeys,
    prefillTiles: prefillInfo.length / 4,
  };
  return { step, rows, blockTables, blockCount, decodeInfo, prefillInfo };
}

/** The cache slot, in tokens, of a position of a sequence. */
export function slotOf(batch: PagedBatch, sequence: number, position: number): number {
  const block = batch.blockTables[sequence]?.[Math.floor(position / BLOCK_TOKENS)];
  if (block === undefined) throw new Error(`Sequence ${sequence} has no block for position ${position}.`);
  return block * BLOCK_TOKENS + (position % BLOCK_TOKENS);
}

export interface BatchBuffers {
  readonly step: GPUBuffer;
  readonly rowInfo: GPUBuffer;
  readonly blockTables: GPUBuffer;
  readonly decodeInfo: GPUBuffer;
  readonly prefillInfo: GPUBuffer;
}

export function uploadBatch(gpu: TestGpu, batch: PagedBatch): BatchBuffers {
  const tables = new Uint32Array(batch.blockTables.length * batch.step.blockTableStride);
  batch.blockTables.forEach((table, sequence) => tables.set(table, sequence * batch.step.blockTableStride));
  return {
    step: gpu.step(batch.step),
    rowInfo: gpu.upload(
      Uint32Array.from(batch.rows.flatMap(({ sequence, position }) => [sequence, position])),
    ),
    blockTables: gpu.upload(tables),
    decodeInfo: gpu.upload(atLeastOneRecord(batch.decodeInfo)),
    prefillInfo: gpu.upload(atLeastOneRecord(batch.prefillInfo)),
  };
}

/** A storage binding may not be empty. */
function atLeastOneRecord(words: readonly number[]): Uint32Array {
  return words.length > 0 ? Uint32Array.from(words) : new Uint32Array(4);
}
