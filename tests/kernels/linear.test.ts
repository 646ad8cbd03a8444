import { beforeAll, describe, expect, test } from 'vitest';
import { KernelCompiler } from '../../src/engine/kernel.ts';
import { createLinear } from '../../src/engine/kernels/linear.ts';
import type { LinearShape } from '../../src/engine/kernels/linear-shape.ts';
import { createMatmul } from '../../src/engine/kernels/matmul.ts';
import { createMatvec } from '../../src/engine/kernels/matvec.ts';
import type { TensorFormat } from '../../src/model/checkpoint.ts';
import type { StepShape } from '../../src/engine/step.ts';
import type { Tuning } from '../../src/engine/tuning.ts';
import { randomNormal } from '../fixtures/random-model.ts';
import { refusalOf } from '../fixtures/errors.ts';
import { decodeElements, encodeElements } from '../reference/number-formats.ts';
import { project } from '../reference/transformer.ts';
import { openTestGpu, ONE_ROW } from './gpu.ts';
import type { TestGpu } from './gpu.ts';

/** The adapters under test are software; hardware lays its teams out in another way, and must be right here too. */
const HARDWARE: Tuning = { subgroupSize: 32, isSoftware: false };
const SOFTWARE: Tuning = { subgroupSize: 4, isSoftware: true };

const KERNELS = {
  'matvec of a GPU': { create: createMatvec, tuning: HARDWARE },
  'matvec of a CPU': { create: createMatvec, tuning: SOFTWARE },
  matmul: { create: createMatmul, tuning: HARDWARE },
  'linear of a GPU': { create: createLinear, tuning: HARDWARE },
  'linear of a CPU': { create: createLinear, tuning: SOFTWARE },
};
type KernelName = keyof typeof KERNELS;

let gpu: TestGpu;
const compilers = new Map<Tuning, KernelCompiler>();
beforeAll(async () => {
  gpu = await openTestGpu();
});

/** One compiler per layout for the whole file: compiling is what takes time here. */
function compilerFor(tuning: Tuning): KernelCompiler {
  const compiler = compilers.get(tuning) ?? new KernelCompiler(gpu.device, tuning);
  compilers.set(tuning, compiler);
  return compiler;
}

interface Case {
  readonly rows: number;
  readonly inFeatures: number;
  readonly outFeatures: number;
  readonly format: TensorFormat;
  readonly bias: boolean;
}

interface Inputs {
  readonly input: Float32Array;
  readonly bias: Float32Array;
  /** As stored. */
  readonly weights: Uint8Array;
}

function randomInputs({ rows, inFeatures, outFeatures, format }: Case): Inputs {
  const normal = randomNormal(rows * 31 + inFeatures + outFeatures);
  const random = (count: number, scale: number) =>
    Float64Array.from({ length: count }, () => scale * normal());
  return {
    input: Float32Array.from(random(rows * inFeatures, 1)),
    bias: Float32Array.from(random(outFeatures, 1)),
    weights: encodeElements(format, random(inFeatures * outFeatures, 1 / Math.sqrt(inFeatures))),
  };
}

function fullShape({ inFeatures, outFeatures, format }: Case): LinearShape {
  return { format, inFeatures, outFeatures, outStride: outFeatures, outOffset: 0, rowsOf: 'step' };
}

async function runOnGpu(
  kernelName: KernelName,
  testCase: Case,
  inputs: Inputs,
  {
    shape = fullShape(testCase),
    step = { ...ONE_ROW, rows: testCase.rows },
  }: {
    shape?: LinearShape;
    step?: StepShape;
  } = {},
): Promise<Float32Array> {
  const output = gpu.poisoned(testCase.rows * shape.outStride);
  const { create, tuning } = KERNELS[kernelName];
  const kernel = await create(compilerFor(tuning), shape, {
    weights: gpu.upload(inputs.weights),
    step: gpu.step(step),
    input: gpu.upload(inputs.input),
    bias: testCase.bias ? gpu.upload(inputs.bias) : null,
    output,
  });
  await gpu.run([kernel], step);
  return gpu.readF32(output);
}

/**
 * The values, and how far f32 arithmetic may be from them in any order of summation: n roundings of at most 2^-24 of the sum of
 * magnitudes. A term that is missing or doubled is some 1 / n of that sum, thousands of times more.
 */
function reference({ inFeatures, outFeatures, format, bias }: Case, inputs: Inputs) {
  const input = Float64Array.from(inputs.input);
  const weight = decodeElements(format, inputs.weights);
  const biases = bias ? Float64Array.from(inputs.bias) : null;
  const magnitudes = project(
    input.map(Math.abs),
    { weight: weight.map(Math.abs), bias: biases?.map(Math.abs) ?? null },
    inFeatures,
  );
  return {
    expected: project(input, { weight, bias: biases }, inFeatures),
    tolerances: magnitudes.map((magnitude) => magnitude * (inFeatures + 2) * 2 ** -24),
    columns: outFeatures,
  };
}

function expectWithin(actual: Float32Array, expected: Float64Array, tolerances: Float64Array): void {
  expect(actual.length).toBe(expected.length);
  // Inputs so dull that a kernel of zeros passed would test nothing.
  expect(
    expected.filter((value, index) => Math.abs(value) > 100 * (tolerances[index] ?? NaN)).length,
  ).toBeGreaterThan(expected.length / 2);
  const wrong = Array.from(expected).flatMap((value, index) => {
    const got = actual[index] ?? NaN;
    return Math.abs(got - value) <= (tolerances[index] ?? NaN) ? [] : [{ index, got, value }];
  });
  expect(wrong.slice(0, 3)).toEqual([]);
}

const SIZES: readonly Omit<Case, 'format'>[] = [
  { rows: 1, inFeatures: 8, outFeatures: 1, bias: false },
  { rows: 1, inFeatures: 256, outFeatures: 131, bias: true },
  { rows: 3, inFeatures: 40, outFeatures: 63, bias: false },
  { rows: 4, inFeatures: 1032, outFeatures: 65, bias: true },
  { rows: 5, inFeatures: 264, outFeatures: 257, bias: false },
  { rows: 63, inFeatures: 72, outFeatures: 65, bias: true },
  { rows: 65, inFeatures: 520, outFeatures: 100, bias: false },
  { rows: 257, inFeatures: 104, outFeatures: 63, bias: true },
];

describe.each(['matvec of a GPU', 'matvec of a CPU', 'matmul'] as const)('%s', (kernelName) => {
  describe.each(['f32', 'f16', 'bf16'] as const)('weights %s', (format) => {
    test.each(SIZES)('$rows × $inFeatures → $outFeatures, bias $bias', async (size) => {
      const testCase = { ...size, format };
      const inputs = randomInputs(testCase);
      const { expected, tolerances } = reference(testCase, inputs);
      expectWithin(await runOnGpu(kernelName, testCase, inputs), expected, tolerances);
    });
  });

  test('parts fill their own columns of a common output', async () => {
    const testCase: Case = { rows: 6, inFeatures: 64, outFeatures: 50, format: 'bf16', bias: false };
    const inputs = randomInputs(testCase);
    const shape = { ...fullShape(testCase), outStride: 70, outOffset: 13 };
    const output = await runOnGpu(kernelName, testCase, inputs, { shape });
    const { expected, tolerances } = reference(testCase, inputs);
    const written = Float32Array.from(
      expected,
      (_, index) => output[Math.floor(index / 50) * 70 + 13 + (index % 50)] ?? NaN,
    );
    expectWithin(written, expected, tolerances);
    const untouched = output.filter((_, index) => index % 70 < 13 || index % 70 >= 63);
    expect(untouched.length).toBe(6 * 20);
    expect(untouched.every(Number.isNaN)).toBe(true);
  });

  test('computes the head rows, and no others, when it belongs to the head', async () => {
    const testCase: Case = { rows: 9, inFeatures: 64, outFeatures: 20, format: 'f16', bias: false };
    const inputs = randomInputs(testCase);
    const shape: LinearShape = { ...fullShape(testCase), rowsOf: 'head' };
    const output = await runOnGpu(kernelName, testCase, inputs, {
      shape,
      step: { ...ONE_ROW, rows: 9, headRows: 5 },
    });
    const { expected, tolerances } = reference(testCase, inputs);
    expectWithin(output.subarray(0, 100), expected.subarray(0, 100), tolerances);
    expect(output.subarray(100).every(Number.isNaN)).toBe(true);
  });

  test('a row has the same bits alone and in company', async () => {
    const testCase: Case = { rows: 70, inFeatures: 296, outFeatures: 67, format: 'bf16', bias: true };
    const inputs = randomInputs(testCase);
    const together = await runOnGpu(kernelName, testCase, inputs);
    for (const row of [0, 2, 33, 69]) {
      const input = inputs.input.slice(row * 296, (row + 1) * 296);
      const alone = await runOnGpu(kernelName, { ...testCase, rows: 1 }, { ...inputs, input });
      expect(alone).toEqual(together.slice(row * 67, (row + 1) * 67));
    }
  });

  test('refuses sizes that do not fit, by name', async () => {
    const testCase: Case = { rows: 2, inFeatures: 64, outFeatures: 20, format: 'f16', bias: false };
    const inputs = randomInputs(testCase);
    const odd = { ...fullShape(testCase), inFeatures: 60 };
    const wide = { ...fullShape(testCase), outFeatures: 40, outStride: 40 };
    const narrow = { ...fullShape(testCase), outOffset: 1 };
    expect((await refusalOf(() => runOnGpu(kernelName, testCase, inputs, { shape: odd }))).data['name']).toBe(
      'inFeatures',
    );
    expect(
      (await refusalOf(() => runOnGpu(kernelName, testCase, inputs, { shape: wide }))).data['name'],
    ).toBe('weights');
    expect(
      (await refusalOf(() => runOnGpu(kernelName, testCase, inputs, { shape: narrow }))).data['name'],
    ).toBe('outStride');
    const step = { ...ONE_ROW, rows: 3 };
    expect((await refusalOf(() => runOnGpu(kernelName, testCase, inputs, { step }))).data['name']).toBe(
      'input',
    );
  });
});

describe.each(['linear of a GPU', 'linear of a CPU'] as const)('%s', (kernelName) => {
  test.each([1, 8, 9, 40])('computes every row of %i', async (rows) => {
    const testCase: Case = { rows, inFeatures: 64, outFeatures: 72, format: 'bf16', bias: true };
    const inputs = randomInputs(testCase);
    const { expected, tolerances } = reference(testCase, inputs);
    expectWithin(await runOnGpu(kernelName, testCase, inputs), expected, tolerances);
  });
});

test('matvec reaches the features behind 65,535 workgroups', async () => {
  // A row of 8 elements is one octet, so a team is one lane and a workgroup computes 8 features.
  const testCase: Case = {
    rows: 1,
    inFeatures: 8,
    outFeatures: 65_535 * 8 + 5,
    format: 'f16',
    bias: false,
  };
  const inputs = randomInputs(testCase);
  const { expected, tolerances } = reference(testCase, inputs);
  const tail = -1000;
  expectWithin(
    (await runOnGpu('matvec of a GPU', testCase, inputs)).subarray(tail),
    expected.subarray(tail),
    tolerances.subarray(tail),
  );
});
