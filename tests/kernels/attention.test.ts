import { beforeAll, describe, expect, test } from 'vitest';
import { decodeSplitTokens } from '../../src/engine/kernels/attention-splits.ts';
import type { DecodeShape } from '../../src/engine/kernels/attention-splits.ts';
import { attendByReference, attendOnGpu, attentionCase } from './attention-case.ts';
import type { AttentionSequence } from './attention-case.ts';
import { openTestGpu } from './gpu.ts';
import type { TestGpu } from './gpu.ts';
import { pagedBatch } from './paged-batch.ts';

/**
 * Outputs are averages of values of order 1. A score of order 10 carries a relative error of a few 2^-24, so a weight is off by
 * about 1e-6, and `exp` may add (3 + 2 |x|) 2^-24 on any GPU.
 */
const TOLERANCE = 2e-5;

/** Several splits at the largest key counts below, and a split of several tiles. */
const CONTEXT_LENGTH = 2048;
const SPLIT_TOKENS = 128;

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});

/** Around the edges of a block (16), a tile (64) and a split (128), and well past several of each. */
const DECODE_KEY_COUNTS = [1, 15, 16, 17, 63, 65, 128, 129, 257, 1000];

const decodeSequences: AttentionSequence[] = DECODE_KEY_COUNTS.map((keyCount) => ({
  seed: keyCount,
  cacheLength: keyCount - 1,
  rowCount: 1,
  attendBy: 'decode',
}));

/** Whole tiles, part of one, a chunk that starts inside a block, one deep in a sequence, and rows too few for a tile. */
const ragged: AttentionSequence[] = [
  { seed: 1, cacheLength: 0, rowCount: 33, attendBy: 'prefill' },
  { seed: 2, cacheLength: 256, rowCount: 1, attendBy: 'decode' },
  { seed: 3, cacheLength: 5, rowCount: 16, attendBy: 'prefill' },
  { seed: 4, cacheLength: 126, rowCount: 4, attendBy: 'decode' },
  { seed: 5, cacheLength: 240, rowCount: 17, attendBy: 'prefill' },
  { seed: 6, cacheLength: 0, rowCount: 1, attendBy: 'decode' },
  { seed: 7, cacheLength: 999, rowCount: 1, attendBy: 'prefill' },
];

function expectClose(actual: Float32Array, expected: Float64Array | Float32Array): void {
  expect(actual.length).toBe(expected.length);
  const wrong = Array.from(expected).flatMap((value, index) => {
    const got = actual[index] ?? NaN;
    return Math.abs(got - value) <= TOLERANCE ? [] : [{ index, got, value }];
  });
  expect(wrong.slice(0, 3)).toEqual([]);
}

/** How many elements differ in any bit. A count: a diff of whole tensors would take minutes to print. */
function differingElements(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  expect(actual.length).toBe(expected.length);
  return Array.from(expected).filter((value, index) => !Object.is(value, actual[index])).length;
}

const SIZES = [
  { headCount: 2, kvHeadCount: 2, headDim: 8 },
  { headCount: 8, kvHeadCount: 4, headDim: 32 },
  { headCount: 7, kvHeadCount: 1, headDim: 64 },
  { headCount: 6, kvHeadCount: 2, headDim: 80 },
  { headCount: 8, kvHeadCount: 2, headDim: 128 },
  { headCount: 2, kvHeadCount: 1, headDim: 256 },
];

function shapeOf(size: (typeof SIZES)[number], cacheFormat: 'f32' | 'f16' = 'f32'): DecodeShape {
  return { ...size, cacheFormat, contextLength: CONTEXT_LENGTH, splitTokens: SPLIT_TOKENS };
}

describe.each(SIZES)('attention, $headCount/$kvHeadCount heads of $headDim', (size) => {
  describe.each(['f32', 'f16'] as const)('cache %s', (cacheFormat) => {
    test.each([
      ['decode rows', decodeSequences],
      ['a ragged batch of both', ragged],
    ])('%s equal the reference', async (_, sequences) => {
      const attention = attentionCase(shapeOf(size, cacheFormat), sequences);
      expectClose(await attendOnGpu(gpu, attention), attendByReference(attention));
    });
  });

  test('decode and prefill kernels agree on the same rows', async () => {
    const byDecode = ragged.map((sequence) => ({ ...sequence, attendBy: 'decode' as const }));
    const byPrefill = ragged.map((sequence) => ({ ...sequence, attendBy: 'prefill' as const }));
    const decoded = await attendOnGpu(gpu, attentionCase(shapeOf(size), byDecode));
    const prefilled = await attendOnGpu(gpu, attentionCase(shapeOf(size), byPrefill));
    expectClose(decoded, prefilled);
    // Different kernels were at work: they add in different orders.
    expect(differingElements(decoded, prefilled)).toBeGreaterThan(0);
  });

  test('a row has the same bits alone and in company', async () => {
    const together = await attendOnGpu(gpu, attentionCase(shapeOf(size), ragged));
    const alone: number[] = [];
    for (const sequence of ragged) {
      alone.push(...(await attendOnGpu(gpu, attentionCase(shapeOf(size), [sequence]))));
    }
    expect(differingElements(together, alone)).toBe(0);
  });

  test('a prefilled row has the same bits however its prompt is cut', async () => {
    const prompt: AttentionSequence = { seed: 9, cacheLength: 0, rowCount: 70, attendBy: 'prefill' };
    const whole = await attendOnGpu(gpu, attentionCase(shapeOf(size), [prompt]));
    const chunks: number[] = [];
    for (const [start, end] of [
      [0, 3],
      [3, 24],
      [24, 57],
      [57, 70],
    ] as const) {
      const chunk = { ...prompt, cacheLength: start, rowCount: end - start };
      chunks.push(...(await attendOnGpu(gpu, attentionCase(shapeOf(size), [chunk]))));
    }
    expect(differingElements(whole, chunks)).toBe(0);
  });
});

test('scores whose exponentials would overflow are no trouble', async () => {
  const attention = attentionCase(shapeOf({ headCount: 4, kvHeadCount: 2, headDim: 64 }), ragged, 100);
  const expected = attendByReference(attention);
  const actual = await attendOnGpu(gpu, attention);
  // Scores of several hundred carry absolute errors of about 1e-4, and weights relative errors of as much.
  const worst = expected.reduce(
    (max, value, index) => Math.max(max, Math.abs(value - (actual[index] ?? NaN))),
    0,
  );
  expect(worst).toBeLessThan(2e-3);
});

test('the scale of the scores is a parameter', async () => {
  const shape = { ...shapeOf({ headCount: 4, kvHeadCount: 2, headDim: 32 }), scale: 0.05 };
  const attention = attentionCase(shape, ragged);
  expectClose(await attendOnGpu(gpu, attention), attendByReference(attention));
});

test('the test batch scatters blocks and leaves rows no two kernels share', () => {
  const { blockTables, blockCount, decodeInfo, prefillInfo, step } = pagedBatch(ragged);
  const blocks = blockTables.flat();
  expect(new Set(blocks).size).toBe(blocks.length);
  expect(blocks.length).toBe(blockCount - 1);
  expect(blocks).not.toEqual([...blocks].sort((a, b) => a - b));
  expect(decodeInfo.length / 2).toBe(step.decodeRows);
  expect(prefillInfo.length / 4).toBe(3 + 1 + 2 + 1);
});

test('splits are few, whole tiles, and a function of the context length alone', () => {
  expect([1, 64, 2048, 2049, 32_768, 131_072].map(decodeSplitTokens)).toEqual([64, 64, 64, 128, 1024, 4096]);
});

describe('refuses what it would compute wrongly, by name', () => {
  const shape = shapeOf({ headCount: 4, kvHeadCount: 2, headDim: 32 });
  const row: AttentionSequence = { seed: 1, cacheLength: 100, rowCount: 1, attendBy: 'decode' };

  test.each([
    [{ headDim: 36 }, /headDim is 36/],
    [{ headCount: 5 }, /headCount is 5/],
    [{ splitTokens: 96 }, /splitTokens is 96/],
    [{ contextLength: 100 }, /maxDecodeKeys is 101/],
  ])('%j', async (changed, message) => {
    // Made for a shape that works, run with one that does not.
    const attention = attentionCase(shape, [row]);
    await expect(attendOnGpu(gpu, { ...attention, shape: { ...shape, ...changed } })).rejects.toThrow(
      message,
    );
  });
});
