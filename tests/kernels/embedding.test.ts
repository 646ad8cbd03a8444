import { beforeAll, describe, expect, test } from 'vitest';
import { KernelCompiler } from '../../src/engine/kernel.ts';
import { createEmbedding } from '../../src/engine/kernels/embedding.ts';
import { tuningOf } from '../../src/engine/tuning.ts';
import { refusalOf } from '../fixtures/errors.ts';
import { embed } from '../reference/transformer.ts';
import { openTestGpu, ONE_ROW } from './gpu.ts';
import type { TestGpu } from './gpu.ts';
import { MATRIX_FORMATS, randomWeights } from './random-weights.ts';

const ROWS = [1, 63, 65, 257];

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});

/** To the bit. Shows the first differences: a diff of thousands of numbers takes minutes to make. */
function expectSame(actual: Float32Array, expected: Float64Array): void {
  expect(actual.length).toBe(expected.length);
  const wrong = Array.from(expected).flatMap((value, index) =>
    Object.is(actual[index], value) ? [] : [{ index, got: actual[index], value }],
  );
  expect(wrong.slice(0, 3)).toEqual([]);
}

describe.each(MATRIX_FORMATS)('embedding stored as %s', (_, wanted) => {
  const [vocab, size] = [131, 264];
  const table = randomWeights(wanted, [vocab, size]);
  const { format } = table;
  const rowBytes = table.weights.byteLength / vocab;
  const rowScaleBytes = (table.scales?.byteLength ?? 0) / vocab;

  test('is the same without shader-f16', async () => {
    const tuning = { ...tuningOf(gpu.device), usesF16: false };
    const hidden = gpu.poisoned(size);
    const kernel = await createEmbedding(
      new KernelCompiler(gpu.device, tuning),
      { format, inFeatures: size, outFeatures: vocab, firstToken: 0 },
      {
        weights: gpu.upload(table.weights),
        scales: table.scales && gpu.upload(table.scales),
        tokenIds: gpu.upload(Uint32Array.of(77)),
        hidden,
      },
    );
    await gpu.run([kernel], ONE_ROW);
    expectSame(await gpu.readF32(hidden), table.values.subarray(77 * size, 78 * size));
  });

  test.each(ROWS)('looks up %i rows exactly, from a table in two parts', async (rows) => {
    const tokenIds = Uint32Array.from({ length: rows }, (_, row) => (row * 67 + 130) % vocab);
    const cut = 50;
    const hidden = gpu.poisoned(rows * size);
    const common = { tokenIds: gpu.upload(tokenIds), hidden };
    const part = (firstToken: number, endToken: number) =>
      createEmbedding(
        gpu.compiler,
        { format, inFeatures: size, outFeatures: endToken - firstToken, firstToken },
        {
          ...common,
          weights: gpu.upload(table.weights.slice(firstToken * rowBytes, endToken * rowBytes)),
          scales:
            table.scales &&
            gpu.upload(table.scales.slice(firstToken * rowScaleBytes, endToken * rowScaleBytes)),
        },
      );
    await gpu.run([await part(0, cut), await part(cut, vocab)], { ...ONE_ROW, rows });
    const expected = embed(table.values, Array.from(tokenIds), size);
    expect(new Set(expected).size).toBeGreaterThan(100);
    expectSame(await gpu.readF32(hidden), expected);
  });

  test('leaves rows of other parts alone', async () => {
    const hidden = gpu.poisoned(3 * size);
    const kernel = await createEmbedding(
      gpu.compiler,
      { format, inFeatures: size, outFeatures: vocab, firstToken: 1000 },
      {
        weights: gpu.upload(table.weights),
        scales: table.scales && gpu.upload(table.scales),
        tokenIds: gpu.upload(Uint32Array.of(999, 1000 + vocab, 1000)),
        hidden,
      },
    );
    await gpu.run([kernel], { ...ONE_ROW, rows: 3 });
    const written = await gpu.readF32(hidden);
    expect(written.subarray(0, 2 * size).every(Number.isNaN)).toBe(true);
    expectSame(written.subarray(2 * size), table.values.subarray(0, size));
  });
});

test('refuses sizes and steps that do not fit, by name', async () => {
  const small = gpu.upload(new Float32Array(8));
  const table = { format: 'f32', inFeatures: 8, outFeatures: 1, firstToken: 0 } as const;
  const buffers = { weights: small, scales: null, tokenIds: small, hidden: gpu.poisoned(8) };
  const refused = async (action: () => unknown) => (await refusalOf(action)).data['name'];
  const create = (shape: Partial<Parameters<typeof createEmbedding>[1]>) =>
    createEmbedding(gpu.compiler, { ...table, ...shape }, buffers);
  const groups = (groupSize: number) => ({ codes: 'u8', zero: 128, groupSize, scales: 'f32' }) as const;

  expect(await refused(() => create({ inFeatures: 4 }))).toBe('inFeatures');
  expect(await refused(() => create({ outFeatures: 2 }))).toBe('weights');
  expect(await refused(() => create({ format: groups(8) }))).toBe('scales');
  expect(await refused(() => create({ format: groups(12) }))).toBe('groupSize');
  expect(await refused(() => create({ format: groups(16) }))).toBe('inFeatures');
  const kernel = await create({});
  expect(await refused(() => gpu.run([kernel], { ...ONE_ROW, rows: 2 }))).toBe('hidden');
});
