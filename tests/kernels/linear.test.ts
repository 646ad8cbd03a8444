import { beforeAll, describe, expect, test } from 'vitest';
import { KernelCompiler } from '../../src/engine/kernel.ts';
import { createLinear } from '../../src/engine/kernels/linear.ts';
import { outputColumns } from '../../src/engine/kernels/linear-shape.ts';
import type { Epilogue, LinearShape } from '../../src/engine/kernels/linear-shape.ts';
import { createMatmul } from '../../src/engine/kernels/matmul.ts';
import { createMatvecLane } from '../../src/engine/kernels/matvec-lane.ts';
import { createMatvec } from '../../src/engine/kernels/matvec.ts';
import type { StepShape } from '../../src/engine/step.ts';
import { tuningOf } from '../../src/engine/tuning.ts';
import type { Tuning } from '../../src/engine/tuning.ts';
import type { MatrixFormat } from '../../src/engine/weight-format.ts';
import { randomNormal } from '../fixtures/random-model.ts';
import { refusalOf } from '../fixtures/errors.ts';
import { project, rmsNorm, silu } from '../reference/transformer.ts';
import { openTestGpu, ONE_ROW } from './gpu.ts';
import type { TestGpu } from './gpu.ts';
import { MATRIX_FORMATS, randomWeights } from './random-weights.ts';
import type { RandomWeights } from './random-weights.ts';

/** The adapters under test are software; hardware lays its teams out in another way, and must be right here too. */
const HARDWARE: Partial<Tuning> = {
  subgroupSize: 32,
  isSoftware: false,
  usesSubgroups: false,
  usesF16: false,
};
/** Teams as wide as the adapter's subgroups, and `shader-f16` where it has that: lavapipe does, SwiftShader does not. */
const HARDWARE_SUBGROUPS: Partial<Tuning> = { isSoftware: false, usesSubgroups: true };
const SOFTWARE: Partial<Tuning> = { isSoftware: true, usesSubgroups: false, usesF16: false };
/** Shares eight ways on lavapipe, four ways on SwiftShader, whose subgroups are smaller. */
const SOFTWARE_SUBGROUPS: Partial<Tuning> = { isSoftware: true, usesSubgroups: true };
const SOFTWARE_QUADS: Partial<Tuning> = { isSoftware: true, usesSubgroups: true, subgroupSize: 4 };

const KERNELS = {
  matvec: { create: createMatvec, tuning: HARDWARE },
  'matvec with subgroups': { create: createMatvec, tuning: HARDWARE_SUBGROUPS },
  'matvec of one lane': { create: createMatvecLane, tuning: SOFTWARE },
  'matvec of one lane with subgroups': { create: createMatvecLane, tuning: SOFTWARE_SUBGROUPS },
  'matvec of one lane in quads': { create: createMatvecLane, tuning: SOFTWARE_QUADS },
  matmul: { create: createMatmul, tuning: HARDWARE },
  'linear of a GPU': { create: createLinear, tuning: HARDWARE },
  'linear of a CPU': { create: createLinear, tuning: SOFTWARE_SUBGROUPS },
};
type KernelName = keyof typeof KERNELS;
const EACH_KERNEL = [
  'matvec',
  'matvec with subgroups',
  'matvec of one lane',
  'matvec of one lane with subgroups',
  'matvec of one lane in quads',
  'matmul',
] as const;

/** Far larger than any model has, so that leaving it out shows. */
const EPSILON = 0.05;

let gpu: TestGpu;
const compilers = new Map<Partial<Tuning>, KernelCompiler>();
beforeAll(async () => {
  gpu = await openTestGpu();
});

/** One compiler per layout for the whole file: compiling is what takes time here. */
function compilerFor(tuning: Partial<Tuning>): KernelCompiler {
  const compiler =
    compilers.get(tuning) ?? new KernelCompiler(gpu.device, { ...tuningOf(gpu.device), ...tuning });
  compilers.set(tuning, compiler);
  return compiler;
}

interface Case {
  readonly rows: number;
  readonly inFeatures: number;
  /** Rows of the matrix. */
  readonly outFeatures: number;
  readonly format: MatrixFormat;
  readonly bias: boolean;
  readonly normed: boolean;
  readonly epilogue: Epilogue;
}

interface Inputs {
  readonly input: Float32Array;
  readonly gain: Float32Array;
  readonly bias: Float32Array;
  readonly matrix: RandomWeights;
  /** What the output holds before. */
  readonly before: Float32Array;
}

function randomInputs({ rows, inFeatures, outFeatures, format, epilogue }: Case): Inputs {
  const normal = randomNormal(rows * 31 + inFeatures + outFeatures);
  const random = (count: number) => Float32Array.from({ length: count }, normal);
  const input = random(rows * inFeatures);
  return {
    // Rows of different sizes, or one row's norm would do for all.
    input: input.map((value, index) => value * (1 + (Math.floor(index / inFeatures) % 5))),
    gain: random(inFeatures),
    bias: random(outFeatures),
    matrix: randomWeights(format, [outFeatures, inFeatures]),
    // An output that nobody wrote must not pass for a zero.
    before: epilogue === 'add' ? random(rows * outFeatures) : new Float32Array(rows * outFeatures).fill(NaN),
  };
}

function fullShape({ inFeatures, outFeatures, normed, epilogue }: Case, { matrix }: Inputs): LinearShape {
  return {
    format: matrix.format,
    inFeatures,
    outFeatures,
    outStride: epilogue === 'swiglu' ? outFeatures / 2 : outFeatures,
    outOffset: 0,
    rowsOf: 'step',
    normEpsilon: normed ? EPSILON : null,
    epilogue,
  };
}

async function runOnGpu(
  kernelName: KernelName,
  testCase: Case,
  inputs: Inputs,
  {
    shape = fullShape(testCase, inputs),
    step = { ...ONE_ROW, rows: testCase.rows },
    headInfo = null,
    before = inputs.before.subarray(0, testCase.rows * shape.outStride),
  }: {
    shape?: LinearShape;
    step?: StepShape;
    headInfo?: Uint32Array | null;
    before?: Float32Array;
  } = {},
): Promise<Float32Array> {
  const output = gpu.upload(before);
  const { create, tuning } = KERNELS[kernelName];
  const { matrix } = inputs;
  const kernel = await create(compilerFor(tuning), shape, {
    weights: gpu.upload(matrix.weights),
    scales: matrix.scales && gpu.upload(matrix.scales),
    step: gpu.step(step),
    input: gpu.upload(inputs.input),
    gain: testCase.normed ? gpu.upload(inputs.gain) : null,
    bias: testCase.bias ? gpu.upload(inputs.bias) : null,
    headInfo: headInfo && gpu.upload(headInfo),
    output,
  });
  await gpu.run([kernel], step);
  return gpu.readF32(output);
}

interface Expected {
  readonly values: Float64Array;
  readonly tolerances: Float64Array;
}

/**
 * The values, and how far f32 arithmetic may be from them in any order of summation: n roundings of at most 2^-24 of the sum of
 * magnitudes. A term that is missing or doubled is some 1 / n of that sum, thousands of times more.
 */
function reference(testCase: Case, inputs: Inputs): Expected {
  const { inFeatures, outFeatures, bias, normed, epilogue } = testCase;
  const { matrix } = inputs;
  const raw = Float64Array.from(inputs.input);
  const input = normed ? rmsNorm(raw, Float64Array.from(inputs.gain), EPSILON) : raw;
  const biases = bias ? Float64Array.from(inputs.bias) : null;
  const sums = project(input, { weight: matrix.values, bias: biases }, inFeatures);
  const magnitudes = project(
    input.map(Math.abs),
    { weight: matrix.magnitudes, bias: biases?.map(Math.abs) ?? null },
    inFeatures,
  );
  // A norm doubles what is rounded: the squares are a sum of n terms too.
  const roundings = (normed ? 2 : 1) * (inFeatures + 8);
  const tolerances = magnitudes.map((magnitude) => magnitude * roundings * 2 ** -24);
  const at = (values: ArrayLike<number>, index: number) => values[index] ?? NaN;
  if (epilogue === 'add') {
    return {
      values: sums.map((sum, index) => sum + at(inputs.before, index)),
      tolerances: tolerances.map(
        (tolerance, index) =>
          tolerance + (Math.abs(at(sums, index)) + Math.abs(at(inputs.before, index))) * 2 ** -23,
      ),
    };
  }
  if (epilogue === 'store') return { values: sums, tolerances };
  const pairs = outFeatures / 2;
  const gateIndex = (index: number) => Math.floor(index / pairs) * outFeatures + (index % pairs);
  const values = Float64Array.from({ length: sums.length / 2 }, (_, index) => {
    const gate = gateIndex(index);
    return silu(at(sums, gate)) * at(sums, gate + pairs);
  });
  return {
    values,
    tolerances: values.map((value, index) => {
      const gate = gateIndex(index);
      const [gateValue, up] = [at(sums, gate), at(sums, gate + pairs)];
      // The slope of silu is at most 1.1; WGSL allows exp an error of 3 + 2·|x| units in the last place.
      const ofGate = 1.1 * Math.abs(up) * at(tolerances, gate);
      const ofUp = Math.abs(silu(gateValue)) * at(tolerances, gate + pairs);
      return ofGate + ofUp + Math.abs(value) * (8 + 2 * Math.abs(gateValue)) * 2 ** -23;
    }),
  };
}

function expectWithin(actual: Float32Array, { values, tolerances }: Expected): void {
  expect(actual.length).toBe(values.length);
  // Inputs so dull that a kernel of zeros passed would test nothing.
  expect(
    values.filter((value, index) => Math.abs(value) > 20 * (tolerances[index] ?? NaN)).length,
  ).toBeGreaterThan(values.length / 2);
  const wrong = Array.from(values).flatMap((value, index) => {
    const got = actual[index] ?? NaN;
    return Math.abs(got - value) <= (tolerances[index] ?? NaN) ? [] : [{ index, got, value }];
  });
  expect(wrong.slice(0, 3)).toEqual([]);
}

const CASES: readonly Omit<Case, 'format'>[] = [
  { rows: 1, inFeatures: 8, outFeatures: 5, bias: false, normed: false, epilogue: 'store' },
  { rows: 1, inFeatures: 256, outFeatures: 131, bias: true, normed: true, epilogue: 'store' },
  { rows: 3, inFeatures: 40, outFeatures: 63, bias: false, normed: false, epilogue: 'add' },
  { rows: 4, inFeatures: 1032, outFeatures: 65, bias: true, normed: true, epilogue: 'store' },
  { rows: 5, inFeatures: 264, outFeatures: 262, bias: false, normed: true, epilogue: 'swiglu' },
  { rows: 9, inFeatures: 136, outFeatures: 66, bias: true, normed: false, epilogue: 'add' },
  { rows: 63, inFeatures: 72, outFeatures: 130, bias: false, normed: true, epilogue: 'swiglu' },
  { rows: 65, inFeatures: 520, outFeatures: 100, bias: false, normed: false, epilogue: 'add' },
  { rows: 257, inFeatures: 104, outFeatures: 63, bias: true, normed: true, epilogue: 'store' },
];

/** Floats and codes of the commonest formats run every case, the others one of each kind: compiling them all takes minutes. */
const IN_FULL = ['bf16', 'u4 − 8, f16'];
const casesFor = (formatName: string) =>
  IN_FULL.includes(formatName) ? CASES : CASES.filter(({ rows }) => [1, 5, 9].includes(rows));

describe.each(EACH_KERNEL)('%s', (kernelName) => {
  describe.each(MATRIX_FORMATS)('weights %s', (formatName, format) => {
    test.each(casesFor(formatName))(
      '$rows × $inFeatures → $outFeatures, norm $normed, bias $bias, then $epilogue',
      async (each) => {
        const testCase = { ...each, format };
        const inputs = randomInputs(testCase);
        expectWithin(await runOnGpu(kernelName, testCase, inputs), reference(testCase, inputs));
      },
    );
  });

  test.each(['store', 'swiglu'] as const)(
    'parts fill their own columns of a common output: %s',
    async (epilogue) => {
      const testCase: Case = {
        rows: 6,
        inFeatures: 64,
        outFeatures: 50,
        format: 'bf16',
        bias: false,
        normed: false,
        epilogue,
      };
      const inputs = randomInputs(testCase);
      const shape = { ...fullShape(testCase, inputs), outStride: 70, outOffset: 13 };
      const columns = outputColumns(shape);
      const output = await runOnGpu(kernelName, testCase, inputs, {
        shape,
        before: new Float32Array(6 * 70).fill(NaN),
      });
      const expected = reference(testCase, inputs);
      const written = Float32Array.from(
        expected.values,
        (_, index) => output[Math.floor(index / columns) * 70 + 13 + (index % columns)] ?? NaN,
      );
      expectWithin(written, expected);
      const untouched = output.filter((_, index) => index % 70 < 13 || index % 70 >= 13 + columns);
      expect(untouched.length).toBe(6 * (70 - columns));
      expect(untouched.every(Number.isNaN)).toBe(true);
    },
  );

  test('a part takes its own columns of the bias', async () => {
    const testCase: Case = {
      rows: 2,
      inFeatures: 64,
      outFeatures: 20,
      format: 'f32',
      bias: true,
      normed: false,
      epilogue: 'store',
    };
    const inputs = randomInputs(testCase);
    const shape = { ...fullShape(testCase, inputs), outStride: 33, outOffset: 13 };
    const output = await runOnGpu(
      kernelName,
      testCase,
      { ...inputs, bias: Float32Array.of(...new Float32Array(13), ...inputs.bias) },
      {
        shape,
        before: new Float32Array(2 * 33).fill(NaN),
      },
    );
    const written = Float32Array.from([...output.subarray(13, 33), ...output.subarray(46, 66)]);
    expectWithin(written, reference(testCase, inputs));
  });

  test('gathers the head rows, computes no others, and leaves the residual stream as it was', async () => {
    const testCase: Case = {
      rows: 9,
      inFeatures: 64,
      outFeatures: 20,
      format: 'f16',
      bias: false,
      normed: true,
      epilogue: 'store',
    };
    const inputs = randomInputs(testCase);
    const headInfo = Uint32Array.of(8, 0, 3, 3, 6);
    const shape: LinearShape = { ...fullShape(testCase, inputs), rowsOf: 'head' };
    const output = await runOnGpu(kernelName, testCase, inputs, {
      shape,
      step: { ...ONE_ROW, rows: 9, headRows: headInfo.length },
      headInfo,
    });
    const gathered = Float32Array.from(
      [...headInfo].flatMap((row) => [...inputs.input.subarray(row * 64, (row + 1) * 64)]),
    );
    const expected = reference({ ...testCase, rows: headInfo.length }, { ...inputs, input: gathered });
    expectWithin(output.subarray(0, 100), expected);
    expect(output.subarray(100).every(Number.isNaN)).toBe(true);
  });

  test.each(MATRIX_FORMATS.filter(([formatName]) => IN_FULL.includes(formatName)))(
    'a row has the same bits alone and in company: %s',
    async (_, format) => {
      const testCase: Case = {
        rows: 70,
        inFeatures: 296,
        outFeatures: 134,
        format,
        bias: false,
        normed: true,
        epilogue: 'swiglu',
      };
      const inputs = randomInputs(testCase);
      const together = await runOnGpu(kernelName, testCase, inputs);
      for (const [first, rows] of [
        [0, 1],
        [2, 3],
        [33, 7],
        [69, 1],
      ] as const) {
        const input = inputs.input.slice(first * 296, (first + rows) * 296);
        const alone = await runOnGpu(kernelName, { ...testCase, rows }, { ...inputs, input });
        expect(alone).toEqual(together.slice(first * 67, (first + rows) * 67));
      }
    },
  );

  test('norms of huge and of vanishing rows stay finite', async () => {
    const testCase: Case = {
      rows: 3,
      inFeatures: 264,
      outFeatures: 8,
      format: 'f32',
      bias: false,
      normed: true,
      epilogue: 'store',
    };
    const inputs = randomInputs(testCase);
    const input = inputs.input.map(
      (value, index) => value * ([1e15, 1e-30, 0][Math.floor(index / 264)] ?? NaN),
    );
    const output = await runOnGpu(kernelName, testCase, { ...inputs, input });
    const { values } = reference(testCase, { ...inputs, input });
    for (let column = 0; column < 8; column++) expect(output[column]).toBeCloseTo(values[column] ?? NaN, 3);
    expect(output.subarray(8).every((value) => Math.abs(value) < 1e-20)).toBe(true);
  });

  test('refuses sizes that do not fit, by name', async () => {
    const testCase: Case = {
      rows: 2,
      inFeatures: 64,
      outFeatures: 20,
      format: 'f16',
      bias: false,
      normed: false,
      epilogue: 'store',
    };
    const inputs = randomInputs(testCase);
    const full = fullShape(testCase, inputs);
    const refused = async (
      options: Parameters<typeof runOnGpu>[3],
      changes: Partial<Case> = {},
    ): Promise<unknown> =>
      (await refusalOf(() => runOnGpu(kernelName, { ...testCase, ...changes }, inputs, options))).data[
        'name'
      ];
    expect(await refused({ shape: { ...full, inFeatures: 60 } })).toBe('inFeatures');
    expect(await refused({ shape: { ...full, outFeatures: 40, outStride: 40 } })).toBe('weights');
    expect(await refused({ shape: { ...full, outOffset: 1 } })).toBe('outStride');
    expect(await refused({ shape: { ...full, outStride: 19, epilogue: 'add' } })).toBe('outStride');
    expect(await refused({ shape: { ...full, outFeatures: 19, epilogue: 'swiglu' } })).toBe('outFeatures');
    expect(await refused({ shape: { ...full, normEpsilon: 1 } })).toBe('gain');
    expect(await refused({ shape: { ...full, rowsOf: 'head' } })).toBe('head_info');
    expect(
      await refused({ shape: { ...full, format: { codes: 'u8', zero: 128, groupSize: 32, scales: 'f16' } } }),
    ).toBe('scales');
    expect(await refused({ step: { ...ONE_ROW, rows: 3 } })).toBe('input');
    await expect(
      runOnGpu(kernelName, { ...testCase, bias: true }, inputs, { shape: { ...full, epilogue: 'swiglu' } }),
    ).rejects.toMatchObject({ code: 'bad-argument' });
  });
});

describe.each(['linear of a GPU', 'linear of a CPU'] as const)('%s', (kernelName) => {
  test.each([1, 4, 5, 8, 9, 40])('computes every row of %i', async (rows) => {
    const testCase: Case = {
      rows,
      inFeatures: 64,
      outFeatures: 72,
      format: 'bf16',
      bias: true,
      normed: true,
      epilogue: 'store',
    };
    const inputs = randomInputs(testCase);
    expectWithin(await runOnGpu(kernelName, testCase, inputs), reference(testCase, inputs));
  });
});

test.each([
  [1, 1],
  [4, 1],
  [5, 2],
  [40, 10],
])('the kernel of one lane reads the weights for %i rows at most %i times', async (rows, reads) => {
  const testCase: Case = {
    rows,
    inFeatures: 64,
    outFeatures: 8,
    format: 'f32',
    bias: false,
    normed: false,
    epilogue: 'store',
  };
  const inputs = randomInputs(testCase);
  const kernel = await createMatvecLane(compilerFor(SOFTWARE_QUADS), fullShape(testCase, inputs), {
    weights: gpu.upload(inputs.matrix.weights),
    scales: null,
    step: gpu.step(ONE_ROW),
    input: gpu.upload(inputs.input),
    gain: null,
    bias: null,
    headInfo: null,
    output: gpu.upload(inputs.before),
  });
  const grids: number[] = [];
  kernel.encode(
    {
      setPipeline: () => undefined,
      setBindGroup: () => undefined,
      dispatchWorkgroups: (_x, _y, z = 1) => void grids.push(z),
    },
    { ...ONE_ROW, rows },
  );
  expect(grids).toEqual([reads]);
});

test('matvec reaches the features behind 65,535 workgroups', async () => {
  // A row of 8 elements is one octet, so a team is one lane and a workgroup computes 8 features.
  const testCase: Case = {
    rows: 1,
    inFeatures: 8,
    outFeatures: 65_535 * 8 + 5,
    format: 'f16',
    bias: false,
    normed: false,
    epilogue: 'store',
  };
  const inputs = randomInputs(testCase);
  const { values, tolerances } = reference(testCase, inputs);
  const tail = -1000;
  expectWithin((await runOnGpu('matvec', testCase, inputs)).subarray(tail), {
    values: values.subarray(tail),
    tolerances: tolerances.subarray(tail),
  });
});
