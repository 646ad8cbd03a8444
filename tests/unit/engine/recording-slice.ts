import { BLOCK_TOKENS } from '../../../src/engine/batch.ts';
import type {
  BatchResult,
  BlockCopy,
  RaggedBatch,
  SequenceResult,
  Slice,
} from '../../../src/engine/batch.ts';

/** Hidden values stay below 2048, so that they are exact as halves. */
const HIDDEN_MODULUS = 2039;
const HIDDEN_SIZE = 4;

export interface RecordingSliceOptions {
  /** Whether token ids come in, rather than rows of the stage before. Default true. */
  readonly hasEmbedding?: boolean;
  /** Whether tokens are sampled, rather than rows handed on. Default true. */
  readonly hasHead?: boolean;
  readonly contextLength?: number;
}

/**
 * A slice that computes no transformer but has a real cache: it writes what comes in into the cache, and what it gives out
 * is a hash of everything it reads back through the block table. A wrong block, position or order, a row that is missing or
 * came twice, or a cache shared by mistake changes every token after it.
 */
export class RecordingSlice implements Slice {
  readonly hiddenSize = HIDDEN_SIZE;
  readonly vocabSize = 50_000;
  readonly hasEmbedding: boolean;
  readonly hasHead: boolean;
  readonly contextLength: number;
  readonly maxBatchRows = 24;
  readonly maxBatchSequences = 6;
  readonly batches: RaggedBatch[] = [];
  copies = 0;
  failNext: Error | null = null;
  /** What a pass waits for. */
  gate: () => Promise<void> = () => Promise.resolve();
  readonly #cache: Float64Array;
  #isComputing = false;

  constructor(
    readonly blockCount: number,
    { hasEmbedding = true, hasHead = true, contextLength = 512 }: RecordingSliceOptions = {},
  ) {
    this.hasEmbedding = hasEmbedding;
    this.hasHead = hasHead;
    this.contextLength = contextLength;
    this.#cache = new Float64Array(blockCount * BLOCK_TOKENS).fill(NaN);
  }

  async forward(batch: RaggedBatch): Promise<BatchResult> {
    if (this.#isComputing) throw new Error('two forward passes at once');
    this.#isComputing = true;
    await this.gate();
    this.#isComputing = false;
    this.batches.push(batch);
    if (this.failNext) {
      const error = this.failNext;
      this.failNext = null;
      throw error;
    }
    const { input } = batch;
    if ((input.kind === 'tokens') !== this.hasEmbedding) throw new Error(`${input.kind} came`);
    const rows = batch.sequences.reduce((sum, { rowCount }) => sum + rowCount, 0);
    const hidden = new Float32Array(rows * HIDDEN_SIZE);
    let row = 0;
    const sequences = batch.sequences.map(({ cacheLength, rowCount, blockTable, head }): SequenceResult => {
      for (let position = cacheLength; position < cacheLength + rowCount; position++, row++) {
        const value = input.kind === 'tokens' ? input.tokenIds[row] : input.values[row * HIDDEN_SIZE];
        this.#cache[this.#slot(blockTable, position)] = value ?? NaN;
        hidden.fill(
          hiddenOf(this.#read(blockTable, position + 1)),
          row * HIDDEN_SIZE,
          (row + 1) * HIDDEN_SIZE,
        );
      }
      if (head.kind !== 'sample') return { kind: 'none' };
      const tokenId = hashTokens(this.#read(blockTable, cacheLength + rowCount));
      return { kind: 'token', tokenId, logProbability: -1, topLogProbabilities: [] };
    });
    return this.hasHead
      ? { hiddenStates: null, sequences }
      : { hiddenStates: hidden, sequences: sequences.map(() => ({ kind: 'none' })) };
  }

  copyBlocks(copies: readonly BlockCopy[]): void {
    if (this.#isComputing) throw new Error('blocks were copied during a pass');
    this.copies += copies.length;
    for (const { from, to } of copies) {
      this.#cache.copyWithin(to * BLOCK_TOKENS, from * BLOCK_TOKENS, (from + 1) * BLOCK_TOKENS);
    }
  }

  dispose(): void {
    this.batches.length = 0;
  }

  #read(blockTable: readonly number[], length: number): number[] {
    return Array.from({ length }, (_, position) => this.#cache[this.#slot(blockTable, position)] ?? NaN);
  }

  #slot(blockTable: readonly number[], position: number): number {
    const block = blockTable[Math.floor(position / BLOCK_TOKENS)];
    if (block === undefined) throw new Error(`no block holds position ${position}`);
    return block * BLOCK_TOKENS + (position % BLOCK_TOKENS);
  }
}

/** What RecordingSlice samples after these ids, or after these rows of the stage before. */
export function hashTokens(ids: readonly number[]): number {
  return hash(ids) % 50_000;
}

/** The values of the row that RecordingSlice hands on after these ids or rows. */
function hiddenOf(ids: readonly number[]): number {
  return hash(ids) % HIDDEN_MODULUS;
}

function hash(ids: readonly number[]): number {
  return ids.reduce((sum, id) => (Math.imul(sum, 31) + id + 1) >>> 0, 7);
}

/** The answer of a route of so many stages, computed in one go. */
export function expectedAnswer(prompt: readonly number[], maxTokens: number, stageCount = 1): number[] {
  const ids = [...prompt];
  for (let step = 0; step < maxTokens; step++) {
    let rows: readonly number[] = ids;
    for (let stage = 1; stage < stageCount; stage++) {
      const inputs = rows;
      rows = inputs.map((_, index) => hiddenOf(inputs.slice(0, index + 1)));
    }
    ids.push(hashTokens(rows));
  }
  return ids.slice(prompt.length);
}
