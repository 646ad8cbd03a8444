import { BLOCK_TOKENS } from '../../../src/engine/batch.ts';
import type { BatchResult, BlockCopy, RaggedBatch, Slice } from '../../../src/engine/batch.ts';

/**
 * A slice with a head that computes no transformer but has a real cache: it writes every token id into its block, and the
 * token it samples is a hash of all ids it reads back through the block table. A wrong block, position, order or a
 * cache shared by mistake changes the token.
 */
export class RecordingSlice implements Slice {
  readonly hiddenSize = 4;
  readonly vocabSize = 50_000;
  readonly hasEmbedding = true;
  readonly hasHead = true;
  readonly contextLength = 512;
  readonly maxBatchRows = 24;
  readonly maxBatchSequences = 6;
  readonly batches: RaggedBatch[] = [];
  failNext: Error | null = null;
  readonly #cache: Uint32Array;
  #computing = false;

  constructor(readonly blockCount: number) {
    this.#cache = new Uint32Array(blockCount * BLOCK_TOKENS);
  }

  async forward(batch: RaggedBatch): Promise<BatchResult> {
    if (this.#computing) throw new Error('two forward passes at once');
    this.#computing = true;
    await Promise.resolve();
    this.#computing = false;
    this.batches.push(batch);
    if (this.failNext) {
      const error = this.failNext;
      this.failNext = null;
      throw error;
    }
    const { input } = batch;
    if (input.kind !== 'tokens') throw new Error('this slice embeds');
    let row = 0;
    const sequences = batch.sequences.map((sequence): BatchResult['sequences'][number] => {
      const end = sequence.cacheLength + sequence.rowCount;
      for (let position = sequence.cacheLength; position < end; position++) {
        this.#cache[this.#slot(sequence.blockTable, position)] = input.tokenIds[row++] ?? 0;
      }
      if (sequence.head.kind !== 'sample') return { kind: 'none' };
      const ids = Array.from(
        { length: end },
        (_, position) => this.#cache[this.#slot(sequence.blockTable, position)] ?? 0,
      );
      return { kind: 'token', tokenId: hashTokens(ids), logProbability: -1, topLogProbabilities: [] };
    });
    return { hiddenStates: null, sequences };
  }

  copyBlocks(copies: readonly BlockCopy[]): void {
    if (this.#computing) throw new Error('blocks were copied during a pass');
    for (const { from, to } of copies) {
      this.#cache.copyWithin(to * BLOCK_TOKENS, from * BLOCK_TOKENS, (from + 1) * BLOCK_TOKENS);
    }
  }

  dispose(): void {
    this.batches.length = 0;
  }

  #slot(blockTable: readonly number[], position: number): number {
    const block = blockTable[Math.floor(position / BLOCK_TOKENS)];
    if (block === undefined) throw new Error(`no block holds position ${position}`);
    return block * BLOCK_TOKENS + (position % BLOCK_TOKENS);
  }
}

/** What RecordingSlice samples after these ids. */
export function hashTokens(ids: readonly number[]): number {
  return ids.reduce((hash, id) => (Math.imul(hash, 31) + id + 1) >>> 0, 7) % 50_000;
}
