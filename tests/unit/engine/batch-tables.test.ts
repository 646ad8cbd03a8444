import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BLOCK_TOKENS } from '../../../src/engine/batch.ts';
import type { BatchSequence, RaggedBatch } from '../../../src/engine/batch.ts';
import { buildBatchTables } from '../../../src/engine/batch-tables.ts';
import type { BatchLimits } from '../../../src/engine/batch-tables.ts';
import { PREFILL_MIN_ROWS, PREFILL_TILE_ROWS } from '../../../src/engine/step.ts';
import { GREEDY } from '../../../src/protocol/sampling.ts';

const limits: BatchLimits = {
  hiddenSize: 8,
  vocabSize: 100,
  hasEmbedding: true,
  hasHead: true,
  blockCount: 12,
  contextLength: 160,
  maxBatchRows: 64,
  maxBatchSequences: 4,
  maxHeadRows: 64,
};

function sequence(
  rowCount: number,
  cacheLength: number,
  blockTable: readonly number[],
  head: BatchSequence['head'] = { kind: 'none' },
): BatchSequence {
  return { rowCount, cacheLength, blockTable, head };
}

function batchOf(...sequences: BatchSequence[]): RaggedBatch {
  const rows = sequences.reduce((sum, { rowCount }) => sum + rowCount, 0);
  return { sequences, input: { kind: 'tokens', tokenIds: new Uint32Array(rows) } };
}

const sample = { kind: 'sample', params: GREEDY } as const;

describe('buildBatchTables', () => {
  it('lays out a prompt, a single token and a chunk that continues, side by side', () => {
    const tables = buildBatchTables(
      batchOf(sequence(20, 0, [3, 1]), sequence(1, 16, [5, 2], sample), sequence(2, 30, [0, 7], sample)),
      limits,
    );
    expect(tables.step).toEqual({
      rows: 23,
      blockTableStride: 2,
      decodeRows: 3,
      maxDecodeKeys: 32,
      prefillTiles: 2,
      headRows: 2,
      sampleRows: 2,
    });
    expect([...tables.blockTables]).toEqual([3, 1, 5, 2, 0, 7]);
    expect([...tables.rowInfo.slice(38)]).toEqual([0, 19, 1, 16, 2, 30, 2, 31]);
    expect([...tables.decodeInfo]).toEqual([20, 1, 1, 16, 21, 1, 2, 30, 22, 1, 2, 31]);
    expect([...tables.prefillInfo]).toEqual([0, 16, 0, 0, 16, 4, 0, 16]);
    expect([...tables.headInfo]).toEqual([20, 22]);
    expect(tables.samples).toEqual([
      { headRow: 0, position: 17, params: GREEDY },
      { headRow: 1, position: 32, params: GREEDY },
    ]);
  });

  it('asks nothing of a head that is not there', () => {
    const { step } = buildBatchTables(batchOf(sequence(1, 0, [0], sample)), { ...limits, hasHead: false });
    expect(step).toMatchObject({ headRows: 0, sampleRows: 0 });
  });

  it('attends every row exactly once, as a decode row or in a tile, with all keys up to its own', () => {
    const sequences = fc.array(fc.tuple(fc.integer({ min: 1, max: 16 }), fc.nat(100)), {
      minLength: 1,
      maxLength: 4,
    });
    fc.assert(
      fc.property(sequences, (shapes) => {
        const batch = batchOf(
          ...shapes.map(([rowCount, cacheLength]) =>
            sequence(
              rowCount,
              cacheLength,
              Array.from({ length: 8 }, (_, block) => block),
            ),
          ),
        );
        const { rowInfo, decodeInfo, prefillInfo, step } = buildBatchTables(batch, limits);
        const attended = new Map<number, number>();
        const attend = (row: number, keys: number) => {
          expect(attended.has(row)).toBe(false);
          attended.set(row, keys);
        };
        for (let index = 0; index < step.decodeRows; index++) {
          attend(decodeInfo[4 * index] ?? -1, (decodeInfo[4 * index + 3] ?? NaN) + 1);
        }
        for (let tile = 0; tile < step.prefillTiles; tile++) {
          const [row = -1, rows = 0, owner = -1, position = -1] = prefillInfo.slice(4 * tile, 4 * tile + 4);
          expect(rows).toBeLessThanOrEqual(PREFILL_TILE_ROWS);
          expect(batch.sequences[owner]?.rowCount).toBeGreaterThanOrEqual(PREFILL_MIN_ROWS);
          for (let offset = 0; offset < rows; offset++) attend(row + offset, position + offset + 1);
        }
        expect(attended.size).toBe(step.rows);
        for (let row = 0; row < step.rows; row++) {
          expect(attended.get(row)).toBe((rowInfo[2 * row + 1] ?? NaN) + 1);
        }
      }),
    );
  });

  const tooManyRows = sequence(65, 0, [0, 1, 2, 3, 4]);
  it.each<[string, RaggedBatch, Partial<BatchLimits>, RegExp]>([
    ['no sequence', batchOf(), {}, /0 sequences/],
    [
      'too many sequences',
      batchOf(...Array.from({ length: 5 }, () => sequence(1, 0, [0]))),
      {},
      /5 sequences/,
    ],
    ['a sequence without rows', batchOf(sequence(0, 0, [0])), {}, /0 rows of sequence 0/],
    ['a negative position', batchOf(sequence(1, -1, [0])), {}, /position -1/],
    ['a position past the context', batchOf(sequence(1, 160, [0])), {}, /positions go to 160/],
    ['too few blocks', batchOf(sequence(BLOCK_TOKENS + 1, 0, [0])), {}, /1 blocks for the 17 tokens/],
    ['a block outside the cache', batchOf(sequence(1, 0, [12])), {}, /block 12 of a cache with 12/],
    ['too many rows', batchOf(tooManyRows), {}, /65 rows/],
    [
      'a token outside the vocabulary',
      { sequences: [sequence(1, 0, [0])], input: { kind: 'tokens', tokenIds: Uint32Array.of(100) } },
      {},
      /token 100; the vocabulary has 100/,
    ],
    [
      'fewer ids than rows',
      { sequences: [sequence(2, 0, [0])], input: { kind: 'tokens', tokenIds: Uint32Array.of(1) } },
      {},
      /1 token ids for 2 rows/,
    ],
    ['tokens on a later stage', batchOf(sequence(1, 0, [0])), { hasEmbedding: false }, /takes activations/],
    [
      'activations of another width',
      { sequences: [sequence(1, 0, [0])], input: { kind: 'activations', values: new Float32Array(7) } },
      { hasEmbedding: false },
      /7 values for 1 rows of 8/,
    ],
    [
      'more logits than there is room for',
      batchOf(sequence(9, 0, [0], { kind: 'logits' })),
      { maxHeadRows: 8 },
      /logits of 9 rows/,
    ],
  ])('refuses %s', (_, batch, changes, words) => {
    const build = () => buildBatchTables(batch, { ...limits, ...changes });
    expect(build).toThrow(words);
    expect(build).toThrow(expect.objectContaining({ code: 'bad-argument' }));
  });
});
