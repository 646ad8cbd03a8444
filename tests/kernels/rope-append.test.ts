import { beforeAll, describe, expect, test } from 'vitest';
import { BLOCK_TOKENS } from '../../src/engine/batch.ts';
import { qkvRowBytes } from '../../src/engine/kernels/attention-shape.ts';
import type { AttentionShape } from '../../src/engine/kernels/attention-shape.ts';
import { createRopeAppend, ropeTable } from '../../src/engine/kernels/rope-append.ts';
import { randomNormal } from '../fixtures/random-model.ts';
import { rmsNormHead, rotateHalf } from '../reference/rope.ts';
import { decodeCache, encodeCache } from './cache.ts';
import { openTestGpu } from './gpu.ts';
import type { TestGpu } from './gpu.ts';
import { pagedBatch, slotOf, uploadBatch } from './paged-batch.ts';

/** Prefill chunks and single tokens, inside a block, over its edge and far into a sequence. */
const BATCH = pagedBatch([
  { cacheLength: 0, rowCount: 1, attendBy: 'decode' },
  { cacheLength: 5, rowCount: 30, attendBy: 'prefill' },
  { cacheLength: 15, rowCount: 1, attendBy: 'decode' },
  { cacheLength: 16, rowCount: 1, attendBy: 'decode' },
  { cacheLength: 0, rowCount: 17, attendBy: 'prefill' },
  { cacheLength: 998, rowCount: 3, attendBy: 'decode' },
]);
const POSITIONS = 1024;
/** Far larger than any model has, so that leaving it out shows. */
const EPSILON = 0.05;

/** Values are of order 1 and see about ten roundings of 2^-24 each; sums of squares are all positive. */
const F32_TOLERANCE = 4e-6;
/** A half has 11 bits, and WGSL leaves the direction of rounding open: one unit in the last place, 2^-10. */
const F16_RELATIVE_TOLERANCE = 2 ** -10;

/** A code is rounded to the nearest; which way a tie falls, f32 may decide differently than f64. */
const HALF_UNIT = 0.5005;

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});

interface Outcome {
  readonly qkv: Float32Array;
  readonly keys: Float64Array;
  readonly values: Float64Array;
}

interface Inputs {
  readonly qkv: Float32Array;
  readonly qNorm: Float32Array;
  readonly kNorm: Float32Array;
  readonly inverseFrequencies: Float64Array;
}

function randomInputs(shape: AttentionShape): Inputs {
  const normal = randomNormal(shape.headDim);
  const half = shape.headDim / 2;
  return {
    qkv: Float32Array.from({ length: (BATCH.rows.length * qkvRowBytes(shape)) / 4 }, normal),
    qNorm: Float32Array.from({ length: shape.headDim }, () => 1 + 0.3 * normal()),
    kNorm: Float32Array.from({ length: shape.headDim }, () => 1 + 0.3 * normal()),
    inverseFrequencies: Float64Array.from({ length: half }, (_, index) => 10_000 ** (-index / half)),
  };
}

function cacheElements(shape: AttentionShape): number {
  return BATCH.blockCount * BLOCK_TOKENS * shape.kvHeadCount * shape.headDim;
}

async function runOnGpu(shape: AttentionShape, qkNorm: boolean, inputs: Inputs): Promise<Outcome> {
  const qkv = gpu.upload(inputs.qkv);
  const emptyCache = encodeCache(shape, new Float64Array(cacheElements(shape)).fill(NaN));
  const keys = gpu.upload(emptyCache);
  const values = gpu.upload(emptyCache);
  const kernel = await createRopeAppend(gpu.compiler, shape, {
    ...uploadBatch(gpu, BATCH),
    qkv,
    norm: qkNorm ? { q: gpu.upload(inputs.qNorm), k: gpu.upload(inputs.kNorm), epsilon: EPSILON } : null,
    ropeTable: gpu.upload(ropeTable(inputs.inverseFrequencies, POSITIONS)),
    keys,
    values,
  });
  await gpu.run([kernel], BATCH.step);
  return {
    qkv: await gpu.readF32(qkv),
    keys: decodeCache(shape, await gpu.readU32(keys)),
    values: decodeCache(shape, await gpu.readU32(values)),
  };
}

function reference(shape: AttentionShape, qkNorm: boolean, inputs: Inputs): Outcome {
  const { headCount, kvHeadCount, headDim } = shape;
  const qkv = inputs.qkv.slice();
  const keys = new Float64Array(cacheElements(shape)).fill(NaN);
  const values = new Float64Array(cacheElements(shape)).fill(NaN);
  BATCH.rows.forEach(({ sequence, position }, row) => {
    const slot = slotOf(BATCH, sequence, position);
    for (let head = 0; head < headCount + 2 * kvHeadCount; head++) {
      const start = (row * (headCount + 2 * kvHeadCount) + head) * headDim;
      const projected = Array.from(inputs.qkv.subarray(start, start + headDim));
      const isQuery = head < headCount;
      const weight = Array.from(isQuery ? inputs.qNorm : inputs.kNorm);
      const normed = qkNorm ? rmsNormHead(projected, weight, EPSILON) : projected;
      const rotated = rotateHalf(normed, position, inputs.inverseFrequencies);
      const kvHead = (head - headCount) % kvHeadCount;
      const cacheStart = (slot * kvHeadCount + kvHead) * headDim;
      if (isQuery) qkv.set(rotated, start);
      else if (head < headCount + kvHeadCount) keys.set(rotated, cacheStart);
      else values.set(projected, cacheStart);
    }
  });
  return { qkv, keys, values };
}

/** Equal within the tolerances, and NaN, which is what nobody wrote, in the same places. */
function expectClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  relativeTolerance: number,
  tolerance = F32_TOLERANCE,
): void {
  expect(actual.length).toBe(expected.length);
  const wrong = Array.from(expected).flatMap((value, index) => {
    const got = actual[index] ?? NaN;
    if (Number.isNaN(value) && Number.isNaN(got)) return [];
    const close = Math.abs(got - value) <= tolerance + relativeTolerance * Math.abs(value);
    return close ? [] : [{ index, got, value }];
  });
  expect(wrong.slice(0, 3)).toEqual([]);
}

/** Within half a unit of the head's largest magnitude / 127, and NaN in the same places. */
function expectRounded(actual: Float64Array, expected: Float64Array, headDim: number): void {
  for (let start = 0; start < expected.length; start += headDim) {
    const head = expected.subarray(start, start + headDim);
    const unit = head.reduce((most, value) => Math.max(most, Math.abs(value)), 0) / 127;
    const got = actual.subarray(start, start + headDim);
    expectClose(got, head, 0, Number.isNaN(unit) ? 0 : HALF_UNIT * unit);
  }
}

const SIZES = [
  { headCount: 3, kvHeadCount: 1, headDim: 8 },
  { headCount: 8, kvHeadCount: 4, headDim: 32 },
  { headCount: 7, kvHeadCount: 1, headDim: 64 },
  { headCount: 2, kvHeadCount: 2, headDim: 80 },
  { headCount: 4, kvHeadCount: 2, headDim: 128 },
  { headCount: 1, kvHeadCount: 1, headDim: 256 },
];

describe.each(SIZES)('rope_append, $headCount/$kvHeadCount heads of $headDim', (size) => {
  describe.each(['f32', 'f16', 'int8'] as const)('cache %s', (cacheFormat) => {
    test.each([true, false])('rotates q and k, stores k and v, norm %s', async (qkNorm) => {
      const shape = { ...size, cacheFormat };
      const inputs = randomInputs(shape);
      const expected = reference(shape, qkNorm, inputs);
      // A kernel that does nothing must not pass.
      expect(expected.qkv).not.toEqual(inputs.qkv);

      const actual = await runOnGpu(shape, qkNorm, inputs);

      expectClose(actual.qkv, expected.qkv, 0);
      if (cacheFormat === 'int8') {
        expectRounded(actual.keys, expected.keys, shape.headDim);
        expectRounded(actual.values, expected.values, shape.headDim);
        return;
      }
      const cacheTolerance = cacheFormat === 'f16' ? F16_RELATIVE_TOLERANCE : 0;
      expectClose(actual.keys, expected.keys, cacheTolerance);
      expectClose(actual.values, expected.values, cacheTolerance);
    });
  });
});

test('refuses sizes that it would compute wrongly, by name', async () => {
  const shape: AttentionShape = { headCount: 4, kvHeadCount: 2, headDim: 32, cacheFormat: 'f32' };
  const create = async (changed: Partial<AttentionShape>, qkvElements: number) => {
    const kernel = await createRopeAppend(
      gpu.compiler,
      { ...shape, ...changed },
      {
        ...uploadBatch(gpu, BATCH),
        qkv: gpu.poisoned(qkvElements),
        norm: null,
        ropeTable: gpu.poisoned(64),
        keys: gpu.poisoned(64),
        values: gpu.poisoned(64),
      },
    );
    await gpu.run([kernel], BATCH.step);
  };
  await expect(create({ headDim: 12 }, 64)).rejects.toThrow(/headDim is 12/);
  await expect(create({ headDim: 264 }, 64)).rejects.toThrow(/headDim is 264/);
  await expect(create({ kvHeadCount: 3 }, 64)).rejects.toThrow(/headCount is 4/);
  await expect(create({}, 64)).rejects.toThrow(/qkv has 256 bytes and this needs/);
});
