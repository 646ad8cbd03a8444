import { beforeAll, describe, expect, test } from 'vitest';
import { createEmbedding } from '../../src/engine/kernels/embedding.ts';
import { createResidualAdd } from '../../src/engine/kernels/residual-add.ts';
import { createRmsNorm } from '../../src/engine/kernels/rms-norm.ts';
import { createSwiglu } from '../../src/engine/kernels/swiglu.ts';
import { refusalOf } from '../fixtures/errors.ts';
import { randomNormal } from '../fixtures/random-model.ts';
import { decodeElements, encodeElements } from '../reference/number-formats.ts';
import { embed, rmsNorm, silu } from '../reference/transformer.ts';
import { openTestGpu, ONE_ROW } from './gpu.ts';
import type { TestGpu } from './gpu.ts';

/** Far larger than any model has, so that leaving it out shows. */
const EPSILON = 0.05;
/** Every result is of order 1 to 10 and a handful of roundings of 2^-24 each away from exact. */
const TOLERANCE = 2e-5;
/** WGSL allows exp an error of 3 + 2·|x| units in the last place; inputs go to about 4, values to about 16. */
const EXP_TOLERANCE = 2e-5;

const ROWS = [1, 63, 65, 257];
/** One lane's worth, one not a multiple of a workgroup, one with several rounds per lane. */
const SIZES = [8, 264, 1032];

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});

function randomF32(count: number, seed: number): Float32Array {
  return Float32Array.from({ length: count }, randomNormal(seed));
}

function expectClose(actual: Float32Array, expected: ArrayLike<number>, tolerance: number): void {
  expect(actual.length).toBe(expected.length);
  // Outputs that are all alike would let a kernel pass that reads the wrong place.
  expect(new Set(Array.from(expected, (value) => value.toFixed(3))).size).toBeGreaterThan(
    Math.min(100, expected.length / 2),
  );
  const wrong = Array.from(expected).flatMap((value, index) => {
    const got = actual[index] ?? NaN;
    return Math.abs(got - value) <= tolerance ? [] : [{ index, got, value }];
  });
  expect(wrong.slice(0, 3)).toEqual([]);
}

describe.each(ROWS)('%i rows', (rows) => {
  const step = { ...ONE_ROW, rows };

  describe.each(SIZES)('of %i', (size) => {
    test('residual_add', async () => {
      const [delta, hidden] = [randomF32(rows * size, 1), randomF32(rows * size, 2)];
      const buffers = { delta: gpu.upload(delta), hidden: gpu.upload(hidden) };
      await gpu.run([await createResidualAdd(gpu.compiler, { size }, buffers)], step);
      const expected = hidden.map((value, index) => value + (delta[index] ?? NaN));
      expect(await gpu.readF32(buffers.hidden)).toEqual(expected);
      expect(await gpu.readF32(buffers.delta)).toEqual(delta);
    });

    test('swiglu', async () => {
      const gateUp = randomF32(rows * 2 * size, 3);
      const activated = gpu.poisoned(rows * size);
      const kernel = await createSwiglu(gpu.compiler, { size }, { gateUp: gpu.upload(gateUp), activated });
      await gpu.run([kernel], step);
      const expected = Float64Array.from({ length: rows * size }, (_, index) => {
        const gate = Math.floor(index / size) * 2 * size + (index % size);
        return silu(gateUp[gate] ?? NaN) * (gateUp[gate + size] ?? NaN);
      });
      expectClose(await gpu.readF32(activated), expected, EXP_TOLERANCE);
    });

    test.each([false, true])('rms_norm, residual pending: %s', async (isPending) => {
      const [hidden, delta] = [randomF32(rows * size, 4), randomF32(rows * size, 5)];
      const weight = randomF32(size, 6);
      const sum = isPending ? hidden.map((value, index) => value + (delta[index] ?? NaN)) : hidden;
      const buffers = {
        weight: gpu.upload(weight),
        hidden: gpu.upload(hidden),
        delta: isPending ? gpu.upload(delta) : null,
        headInfo: null,
        normed: gpu.poisoned(rows * size),
      };
      await gpu.run([await createRmsNorm(gpu.compiler, { size, epsilon: EPSILON }, buffers)], step);
      const expected = rmsNorm(Float64Array.from(sum), Float64Array.from(weight), EPSILON);
      expectClose(await gpu.readF32(buffers.normed), expected, TOLERANCE);
      expect(await gpu.readF32(buffers.hidden)).toEqual(sum);
    });
  });
});

test('rms_norm gathers the head rows and leaves the residual stream as it was', async () => {
  const [rows, size] = [70, 264];
  const headRows = [69, 0, 33, 33, 64];
  const [hidden, delta, weight] = [randomF32(rows * size, 7), randomF32(rows * size, 8), randomF32(size, 9)];
  const buffers = {
    weight: gpu.upload(weight),
    hidden: gpu.upload(hidden),
    delta: gpu.upload(delta),
    headInfo: gpu.upload(Uint32Array.from(headRows)),
    normed: gpu.poisoned((headRows.length + 1) * size),
  };
  const kernel = await createRmsNorm(gpu.compiler, { size, epsilon: EPSILON }, buffers);
  await gpu.run([kernel], { ...ONE_ROW, rows, headRows: headRows.length });
  const gathered = headRows.flatMap((row) =>
    Array.from(
      { length: size },
      (_, index) => (hidden[row * size + index] ?? NaN) + (delta[row * size + index] ?? NaN),
    ),
  );
  const normed = await gpu.readF32(buffers.normed);
  const expected = rmsNorm(Float64Array.from(gathered), Float64Array.from(weight), EPSILON);
  expectClose(normed.subarray(0, headRows.length * size), expected, TOLERANCE);
  expect(normed.subarray(headRows.length * size).every(Number.isNaN)).toBe(true);
  expect(await gpu.readF32(buffers.hidden)).toEqual(hidden);
});

test('rms_norm of huge and of vanishing rows stays finite', async () => {
  const size = 264;
  const hidden = Float32Array.from(
    { length: 3 * size },
    (_, index) => [1e15, 1e-30, 0][Math.floor(index / size)] ?? NaN,
  );
  const buffers = {
    weight: gpu.upload(new Float32Array(size).fill(2)),
    hidden: gpu.upload(hidden),
    delta: null,
    headInfo: null,
    normed: gpu.poisoned(3 * size),
  };
  await gpu.run([await createRmsNorm(gpu.compiler, { size, epsilon: 1e-6 }, buffers)], {
    ...ONE_ROW,
    rows: 3,
  });
  const normed = await gpu.readF32(buffers.normed);
  expect(normed[0]).toBeCloseTo(2, 5);
  expect(normed.subarray(size).every((value) => Math.abs(value) < 1e-20)).toBe(true);
});

describe.each(['f32', 'f16', 'bf16'] as const)('embedding stored as %s', (format) => {
  const [vocab, size] = [131, 264];
  const table = encodeElements(format, Float64Array.from({ length: vocab * size }, randomNormal(10)));

  test.each(ROWS)('looks up %i rows exactly, from a table in two parts', async (rows) => {
    const tokenIds = Uint32Array.from({ length: rows }, (_, row) => (row * 67 + 130) % vocab);
    const rowBytes = table.byteLength / vocab;
    const cut = 50;
    const hidden = gpu.poisoned(rows * size);
    const common = { tokenIds: gpu.upload(tokenIds), hidden };
    const part = (firstToken: number, endToken: number) =>
      createEmbedding(
        gpu.compiler,
        { format, inFeatures: size, outFeatures: endToken - firstToken, firstToken },
        { ...common, weights: gpu.upload(table.subarray(firstToken * rowBytes, endToken * rowBytes)) },
      );
    await gpu.run([await part(0, cut), await part(cut, vocab)], { ...ONE_ROW, rows });
    const expected = embed(decodeElements(format, table), Array.from(tokenIds), size);
    expect(await gpu.readF32(hidden)).toEqual(Float32Array.from(expected));
  });

  test('leaves rows of other parts alone', async () => {
    const hidden = gpu.poisoned(3 * size);
    const kernel = await createEmbedding(
      gpu.compiler,
      { format, inFeatures: size, outFeatures: vocab, firstToken: 1000 },
      {
        weights: gpu.upload(table),
        tokenIds: gpu.upload(Uint32Array.of(999, 1000 + vocab, 1000)),
        hidden,
      },
    );
    await gpu.run([kernel], { ...ONE_ROW, rows: 3 });
    const written = await gpu.readF32(hidden);
    expect(written.subarray(0, 2 * size).every(Number.isNaN)).toBe(true);
    expect(written.subarray(2 * size)).toEqual(
      Float32Array.from(decodeElements(format, table).subarray(0, size)),
    );
  });
});

test('every kernel refuses sizes and steps that do not fit, by name', async () => {
  const small = gpu.upload(new Float32Array(8));
  const twoRows = { ...ONE_ROW, rows: 2 };
  const norm = { weight: small, hidden: small, delta: null, headInfo: null, normed: small };
  const table = { format: 'f32', inFeatures: 8, outFeatures: 1, firstToken: 0 } as const;
  const embedding = { weights: small, tokenIds: small, hidden: gpu.poisoned(8) };
  const refused = async (action: () => unknown) => (await refusalOf(action)).data['name'];

  expect(
    await refused(() => createResidualAdd(gpu.compiler, { size: 6 }, { delta: small, hidden: small })),
  ).toBe('size');
  expect(
    await refused(() => createSwiglu(gpu.compiler, { size: 6 }, { gateUp: small, activated: small })),
  ).toBe('size');
  expect(await refused(() => createRmsNorm(gpu.compiler, { size: 6, epsilon: 1 }, norm))).toBe('size');
  expect(await refused(() => createRmsNorm(gpu.compiler, { size: 16, epsilon: 1 }, norm))).toBe('weight');
  expect(await refused(() => createEmbedding(gpu.compiler, { ...table, inFeatures: 4 }, embedding))).toBe(
    'inFeatures',
  );
  expect(await refused(() => createEmbedding(gpu.compiler, { ...table, outFeatures: 2 }, embedding))).toBe(
    'weights',
  );

  const add = await createResidualAdd(gpu.compiler, { size: 8 }, { delta: small, hidden: gpu.poisoned(8) });
  expect(await refused(() => gpu.run([add], twoRows))).toBe('delta');
  const activate = await createSwiglu(
    gpu.compiler,
    { size: 8 },
    { gateUp: gpu.poisoned(32), activated: small },
  );
  expect(await refused(() => gpu.run([activate], twoRows))).toBe('activated');
  const embedTokens = await createEmbedding(gpu.compiler, table, embedding);
  expect(await refused(() => gpu.run([embedTokens], twoRows))).toBe('hidden');
});
