import { beforeAll, describe, expect, test } from 'vitest';
import { decodeSplitTokens } from '../../src/engine/kernels/attention-splits.ts';
import type { DecodeShape } from '../../src/engine/kernels/attention-splits.ts';
import type { CacheFormat } from '../../src/engine/kernels/attention-shape.ts';
import { KernelCompiler } from '../../src/engine/kernel.ts';
import {
  attendByReference,
  attendOnGpu,
  attentionCase,
  attentionKernels,
  freeAttention,
  uploadAttention,
} from './attention-case.ts';
import type { AttentionCase, AttentionSequence } from './attention-case.ts';
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

/** The kernels of hardware and of software adapters; either runs on either. */
const VARIANTS = [
  { variant: 'parallel', isSoftware: false },
  { variant: 'serial', isSoftware: true },
] as const;

const compilers = new Map<boolean, KernelCompiler>();

function compilerFor(isSoftware: boolean): KernelCompiler {
  const compiler =
    compilers.get(isSoftware) ?? new KernelCompiler(gpu.device, { ...gpu.compiler.tuning, isSoftware });
  compilers.set(isSoftware, compiler);
  return compiler;
}

/** Attends with the kernels of one kind of adapter. */
function attendAs(isSoftware: boolean, attention: AttentionCase): Promise<Float32Array> {
  return attendOnGpu(gpu, attention, compilerFor(isSoftware));
}

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

type AttentionSize = Pick<DecodeShape, 'headCount' | 'kvHeadCount' | 'headDim'>;

const ALL_FORMATS = ['f32', 'f16', 'int8'] as const;

/** Every size with a format is kernels of its own to compile, which takes seconds: so not every size has every format. */
const SIZES: readonly (AttentionSize & { readonly formats: readonly CacheFormat[] })[] = [
  { headCount: 2, kvHeadCount: 2, headDim: 8, formats: ALL_FORMATS },
  { headCount: 8, kvHeadCount: 4, headDim: 32, formats: ['f32', 'int8'] },
  { headCount: 7, kvHeadCount: 1, headDim: 64, formats: ['f16'] },
  { headCount: 6, kvHeadCount: 2, headDim: 80, formats: ALL_FORMATS },
  { headCount: 8, kvHeadCount: 2, headDim: 128, formats: ['f32', 'f16'] },
  { headCount: 2, kvHeadCount: 1, headDim: 256, formats: ['f32', 'int8'] },
];

function shapeOf(
  { headCount, kvHeadCount, headDim }: AttentionSize,
  cacheFormat: CacheFormat = 'f32',
): DecodeShape {
  return {
    headCount,
    kvHeadCount,
    headDim,
    cacheFormat,
    contextLength: CONTEXT_LENGTH,
    splitTokens: SPLIT_TOKENS,
  };
}

describe.each(VARIANTS)('$variant kernels', ({ isSoftware }) => {
  describe.each(SIZES)('attention, $headCount/$kvHeadCount heads of $headDim', ({ formats, ...size }) => {
    describe.each(formats)('cache %s', (cacheFormat) => {
      test.each([
        ['decode rows', decodeSequences],
        ['a ragged batch of both', ragged],
      ])('%s equal the reference', async (_, sequences) => {
        const attention = attentionCase(shapeOf(size, cacheFormat), sequences);
        expectClose(await attendAs(isSoftware, attention), attendByReference(attention));
      });
    });

    test('decode and prefill kernels agree on the same rows', async () => {
      const byDecode = ragged.map((sequence) => ({ ...sequence, attendBy: 'decode' as const }));
      const byPrefill = ragged.map((sequence) => ({ ...sequence, attendBy: 'prefill' as const }));
      const decoded = await attendAs(isSoftware, attentionCase(shapeOf(size), byDecode));
      const prefilled = await attendAs(isSoftware, attentionCase(shapeOf(size), byPrefill));
      expectClose(decoded, prefilled);
      // Different kernels were at work: they add in different orders.
      expect(differingElements(decoded, prefilled)).toBeGreaterThan(0);
    });

    test.each([undefined, 21])('a row has the same bits alone and in company, window %s', async (window) => {
      const shape = { ...shapeOf(size), ...(window !== undefined && { window }) };
      const together = await attendAs(isSoftware, attentionCase(shape, ragged));
      const alone: number[] = [];
      for (const sequence of ragged) {
        alone.push(...(await attendAs(isSoftware, attentionCase(shape, [sequence]))));
      }
      expect(differingElements(together, alone)).toBe(0);
    });

    test.each([undefined, 21])(
      'a prefilled row has the same bits however its prompt is cut, window %s',
      async (window) => {
        const shape = { ...shapeOf(size), ...(window !== undefined && { window }) };
        const prompt: AttentionSequence = { seed: 9, cacheLength: 0, rowCount: 70, attendBy: 'prefill' };
        const whole = await attendAs(isSoftware, attentionCase(shape, [prompt]));
        const chunks: number[] = [];
        for (const [start, end] of [
          [0, 3],
          [3, 24],
          [24, 57],
          [57, 70],
        ] as const) {
          const chunk = { ...prompt, cacheLength: start, rowCount: end - start };
          chunks.push(...(await attendAs(isSoftware, attentionCase(shape, [chunk]))));
        }
        expect(differingElements(whole, chunks)).toBe(0);
      },
    );
  });

  // Windows of one key, within a block, of whole blocks, within and over a split, and longer than any row. Each is a kernel of its
  // own to compile, so the sizes share them out.
  describe.each([
    { headCount: 6, kvHeadCount: 2, headDim: 80, windows: [1, 32, 129, 4096] },
    { headCount: 8, kvHeadCount: 1, headDim: 64, windows: [7, 100, 300] },
  ])('$headCount/$kvHeadCount heads of $headDim', ({ windows, ...size }) => {
    test.each(windows)('a window of %i keys', async (window) => {
      const shape = { ...shapeOf(size), window };
      for (const sequences of [decodeSequences, ragged]) {
        const attention = attentionCase(shape, sequences);
        expectClose(await attendAs(isSoftware, attention), attendByReference(attention));
      }
    });

    test.each([
      { softCap: 2.5, hasSinks: false },
      { hasSinks: true },
      { window: 37, softCap: 2.5, hasSinks: true },
      { window: 37, softCap: 2.5, hasSinks: true, cacheFormat: 'int8' as const },
    ])('%j', async ({ hasSinks, ...changed }) => {
      const shape: DecodeShape = { ...shapeOf(size), ...changed };
      for (const sequences of [decodeSequences, ragged]) {
        const attention = attentionCase(shape, sequences, { hasSinks });
        const expected = attendByReference(attention);
        expectClose(await attendAs(isSoftware, attention), expected);
        // Each of them changes the answer, so leaving one out shows.
        const plain = attendByReference(attentionCase(shapeOf(size, shape.cacheFormat), sequences));
        expect(differingElements(plain, expected)).toBeGreaterThan(expected.length / 2);
      }
    });
  });

  test('scores far past a soft cap are the cap', async () => {
    const shape = { ...shapeOf({ headCount: 4, kvHeadCount: 2, headDim: 64 }), softCap: 1 };
    const attention = attentionCase(shape, ragged, { queryGain: 1e4 });
    expectClose(await attendAs(isSoftware, attention), attendByReference(attention));
  });

  test('scores whose exponentials would overflow are no trouble', async () => {
    const shape = shapeOf({ headCount: 4, kvHeadCount: 2, headDim: 64 });
    const attention = attentionCase(shape, ragged, { queryGain: 100 });
    const expected = attendByReference(attention);
    const actual = await attendAs(isSoftware, attention);
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
    expectClose(await attendAs(isSoftware, attention), attendByReference(attention));
  });
});

test('the two variants are different kernels', async () => {
  const attention = attentionCase(shapeOf({ headCount: 8, kvHeadCount: 4, headDim: 32 }), ragged);
  const [serial, parallel] = [await attendAs(true, attention), await attendAs(false, attention)];
  expect(differingElements(serial, parallel)).toBeGreaterThan(0);
});

describe('rows of one split', () => {
  const shape = shapeOf({ headCount: 8, kvHeadCount: 4, headDim: 32 });
  const rowOf = (keyCount: number): AttentionSequence => ({
    seed: keyCount,
    cacheLength: keyCount - 1,
    rowCount: 1,
    attendBy: 'decode',
  });
  const short = rowOf(SPLIT_TOKENS);
  const long = rowOf(SPLIT_TOKENS + 1);

  test.each([
    { name: 'alone', sequences: [short, rowOf(1)], dispatches: { parallel: 1, serial: 2 } },
    { name: 'with one of two', sequences: [short, long], dispatches: { parallel: 2, serial: 2 } },
    { name: 'with sinks', sequences: [short], hasSinks: true, dispatches: { parallel: 2, serial: 2 } },
    // One split sees the window, but the grid is made for all of them.
    { name: 'far on', sequences: [rowOf(1000)], window: 8, dispatches: { parallel: 2, serial: 2 } },
  ])('$name are ended in as few dispatches as can be', async (given) => {
    const { sequences, dispatches, hasSinks = false, window } = given;
    const windowed = { ...shape, ...(window !== undefined && { window }) };
    const attention = attentionCase(windowed, sequences, { hasSinks });
    for (const { variant, isSoftware } of VARIANTS) {
      const buffers = uploadAttention(gpu, attention);
      const kernels = await attentionKernels(compilerFor(isSoftware), windowed, buffers);
      let count = 0;
      const pass = {
        setPipeline: () => undefined,
        setBindGroup: () => undefined,
        dispatchWorkgroups: () => void (count += 1),
      };
      for (const kernel of kernels) kernel.encode(pass, attention.batch.step);
      expect(count).toBe(dispatches[variant]);
      await gpu.run(kernels, attention.batch.step);
      expectClose(await gpu.readF32(buffers.attended), attendByReference(attention));
      freeAttention(buffers);
    }
  });
});

test('the test batch scatters blocks and leaves rows no two kernels share', () => {
  const { blockTables, blockCount, decodeInfo, prefillInfo, step } = pagedBatch(ragged);
  const blocks = blockTables.flat();
  expect(new Set(blocks).size).toBe(blocks.length);
  expect(blocks.length).toBe(blockCount - 1);
  expect(blocks).not.toEqual([...blocks].sort((a, b) => a - b));
  expect(decodeInfo.length / 4).toBe(step.decodeRows);
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
    [{ window: 0 }, /window is 0/],
    [{ softCap: 0 }, /softCap is 0/],
  ])('%j', async (changed, message) => {
    // Made for a shape that works, run with one that does not.
    const attention = attentionCase(shape, [row]);
    for (const { isSoftware } of VARIANTS) {
      const attended = attendAs(isSoftware, { ...attention, shape: { ...shape, ...changed } });
      await expect(attended).rejects.toThrow(message);
    }
  });

  test.each([
    ['qkv', /qkv has 16 bytes/, [row]],
    ['partials', /partials has 16 bytes/, [row]],
    ['partialStats', /partial_stats has 16 bytes/, [row]],
    ['attended', /attended has 16 bytes/, [row]],
    ['qkv', /qkv has 16 bytes/, [{ ...row, attendBy: 'prefill' }]],
    ['attended', /attended has 16 bytes/, [{ ...row, attendBy: 'prefill' }]],
  ] as const)('%s that is too small', async (name, message, sequences) => {
    const attention = attentionCase(shape, sequences);
    for (const { isSoftware } of VARIANTS) {
      const buffers = { ...uploadAttention(gpu, attention), [name]: gpu.poisoned(4) };
      const kernels = await attentionKernels(compilerFor(isSoftware), shape, buffers);
      await expect(gpu.run(kernels, attention.batch.step)).rejects.toThrow(message);
      freeAttention(buffers);
    }
  });
});
