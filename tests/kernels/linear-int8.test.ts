import { beforeAll, describe, expect, test } from 'vitest';
import { KernelCompiler } from '../../src/engine/kernel.ts';
import { createMatmul } from '../../src/engine/kernels/matmul.ts';
import { createMatvecLane } from '../../src/engine/kernels/matvec-lane.ts';
import { createMatvec } from '../../src/engine/kernels/matvec.ts';
import type { Epilogue, LinearShape } from '../../src/engine/kernels/linear-shape.ts';
import { tuningOf } from '../../src/engine/tuning.ts';
import type { Tuning } from '../../src/engine/tuning.ts';
import type { MatrixFormat } from '../../src/engine/weight-format.ts';
import type { QuantizedFormat } from '../../src/model/quantized.ts';
import type { Activations } from '../../src/protocol/activations.ts';
import { refusalOf } from '../fixtures/errors.ts';
import { randomNormal } from '../fixtures/random-model.ts';
import { ACTIVATION_GROUP, quantiseActivations } from '../reference/int8-activations.ts';
import { relativeError } from '../reference/relative-error.ts';
import { silu } from '../reference/transformer.ts';
import { ONE_ROW, openTestGpu } from './gpu.ts';
import type { TestGpu } from './gpu.ts';
import { randomWeights } from './random-weights.ts';
import type { RandomWeights } from './random-weights.ts';

const KERNELS = {
  matvec: { create: createMatvec, layout: { subgroupSize: 32, isSoftware: false, usesSubgroups: false } },
  'matvec with subgroups': { create: createMatvec, layout: { isSoftware: false, usesSubgroups: true } },
  'matvec of one lane': { create: createMatvecLane, layout: { isSoftware: true, usesSubgroups: false } },
  /** Shares eight ways on lavapipe, four ways on SwiftShader, whose subgroups are smaller. */
  'matvec of one lane with subgroups': {
    create: createMatvecLane,
    layout: { isSoftware: true, usesSubgroups: true },
  },
  'matvec of one lane in quads': {
    create: createMatvecLane,
    layout: { isSoftware: true, usesSubgroups: true, subgroupSize: 4 },
  },
  matmul: { create: createMatmul, layout: { subgroupSize: 32, isSoftware: false, usesSubgroups: false } },
} satisfies Record<string, { create: typeof createMatvec; layout: Partial<Tuning> }>;
type KernelName = keyof typeof KERNELS;
const EACH_KERNEL = Object.keys(KERNELS) as KernelName[];

const FORMATS: readonly QuantizedFormat[] = [
  { codes: 'u4', zero: 8, groupSize: 32, scales: 'f16' },
  { codes: 'u8', zero: 128, groupSize: 32, scales: 'f16' },
  { codes: 'u4', zero: 0, groupSize: 64, scales: 'f32-pair' },
  { codes: 'u8', zero: 3, groupSize: 96, scales: 'f32' },
];
const EACH_FORMAT = FORMATS.map(
  (format) => [`${format.codes} − ${format.zero}, ${format.scales}`, format] as const,
);

const EPSILON = 0.05;
/** So far from where rounding turns over that a division of any adapter's precision gives the same code. */
const LEAST_MARGIN = 1e-3;

interface Case {
  readonly rows: number;
  /** Groups of weights in a row. */
  readonly groups: number;
  readonly outFeatures: number;
  readonly normed: boolean;
  readonly epilogue: Epilogue;
}

const CASES: readonly Case[] = [
  { rows: 1, groups: 1, outFeatures: 5, normed: false, epilogue: 'store' },
  { rows: 1, groups: 33, outFeatures: 131, normed: true, epilogue: 'store' },
  { rows: 3, groups: 3, outFeatures: 63, normed: false, epilogue: 'add' },
  { rows: 5, groups: 5, outFeatures: 262, normed: true, epilogue: 'swiglu' },
  { rows: 65, groups: 7, outFeatures: 100, normed: true, epilogue: 'store' },
];
/** How weights are read is one code for all layouts of a kernel: one of each meets all formats, the others the commonest two. */
const MEETS_ALL_FORMATS: readonly KernelName[] = [
  'matvec with subgroups',
  'matvec of one lane with subgroups',
  'matmul',
];
const formatsFor = (kernelName: KernelName) =>
  MEETS_ALL_FORMATS.includes(kernelName) ? EACH_FORMAT : EACH_FORMAT.slice(0, 2);

/** What is around the products is one code for all formats, and compiling takes most of the time: the others run one kind of case. */
const casesFor = (format: QuantizedFormat) =>
  format === FORMATS[0] ? CASES : CASES.filter(({ normed, epilogue }) => normed && epilogue === 'store');

let gpu: TestGpu;
const compilers = new Map<string, KernelCompiler>();
beforeAll(async () => {
  gpu = await openTestGpu();
});

function compilerFor(kernelName: KernelName, usesPackedDot: boolean): KernelCompiler {
  const key = `${kernelName} ${usesPackedDot}`;
  const tuning = { ...tuningOf(gpu.device), ...KERNELS[kernelName].layout, usesPackedDot };
  const compiler = compilers.get(key) ?? new KernelCompiler(gpu.device, tuning);
  compilers.set(key, compiler);
  return compiler;
}

interface Inputs {
  readonly format: QuantizedFormat;
  readonly inFeatures: number;
  readonly input: Float32Array;
  readonly gain: Float32Array;
  readonly matrix: RandomWeights;
  readonly before: Float32Array;
}

function randomInputs(
  { rows, groups, outFeatures, normed, epilogue }: Case,
  format: QuantizedFormat,
): Inputs {
  const inFeatures = groups * format.groupSize;
  const normal = randomNormal(rows * 31 + inFeatures + outFeatures);
  const random = (count: number) => Float32Array.from({ length: count }, normal);
  const gain = random(inFeatures);
  // Groups of different sizes, or one scale would do for all.
  const input = random(rows * inFeatures).map(
    (value, index) => value * 2 ** ((Math.floor(index / ACTIVATION_GROUP) * 3) % 7),
  );
  const { margins } = quantiseActivations(rounded(input, normed ? gain : null));
  return {
    format,
    inFeatures,
    gain,
    // Zero rounds to zero, and the largest of a group, which sets its scale, is never near the edge of a code.
    input: input.map((value, index) => ((margins[index] ?? 0) < LEAST_MARGIN ? 0 : value)),
    matrix: randomWeights(format, [outFeatures, inFeatures]),
    before: epilogue === 'add' ? random(rows * outFeatures) : new Float32Array(rows * outFeatures).fill(NaN),
  };
}

/** What is rounded to int8: the input times the norm's gain, in f32. */
function rounded(input: Float32Array, gain: Float32Array | null): Float64Array {
  if (gain === null) return Float64Array.from(input);
  return Float64Array.from(input, (value, index) => Math.fround(value * (gain[index % gain.length] ?? NaN)));
}

async function runOnGpu(
  kernelName: KernelName,
  { rows, outFeatures, normed, epilogue }: Case,
  { inFeatures, input, gain, matrix, before }: Inputs,
  {
    usesPackedDot = true,
    activations = 'int8',
  }: { readonly usesPackedDot?: boolean; readonly activations?: Activations } = {},
): Promise<Float32Array> {
  const outStride = epilogue === 'swiglu' ? outFeatures / 2 : outFeatures;
  const shape: LinearShape = {
    format: matrix.format,
    inFeatures,
    outFeatures,
    outStride,
    outOffset: 0,
    rowsOf: 'step',
    normEpsilon: normed ? EPSILON : null,
    epilogue,
    activations,
  };
  const output = gpu.upload(before.subarray(0, rows * outStride));
  const step = { ...ONE_ROW, rows };
  const kernel = await KERNELS[kernelName].create(compilerFor(kernelName, usesPackedDot), shape, {
    weights: gpu.upload(matrix.weights),
    scales: matrix.scales && gpu.upload(matrix.scales),
    step: gpu.step(step),
    input: gpu.upload(input),
    gain: normed ? gpu.upload(gain) : null,
    bias: null,
    headInfo: null,
    output,
  });
  await gpu.run([kernel], step);
  return gpu.readF32(output);
}

/** The values, and how far f32 may be from them: the codes are exact, so only scales, sums of groups and the norm are rounded. */
function reference(
  { rows, outFeatures, normed, epilogue }: Case,
  { inFeatures, input, gain, matrix, before }: Inputs,
): { readonly values: Float64Array; readonly tolerances: Float64Array } {
  const { codes, scales } = quantiseActivations(rounded(input, normed ? gain : null));
  const sums = new Float64Array(rows * outFeatures);
  const tolerances = new Float64Array(rows * outFeatures);
  for (let row = 0; row < rows; row++) {
    let squares = 0;
    for (let i = 0; i < inFeatures; i++) squares += (input[row * inFeatures + i] ?? NaN) ** 2;
    const norm = normed ? 1 / Math.sqrt(squares / inFeatures + EPSILON) : 1;
    for (let feature = 0; feature < outFeatures; feature++) {
      let sum = 0;
      let magnitude = 0;
      for (let i = 0; i < inFeatures; i++) {
        const index = row * inFeatures + i;
        const activation = (codes[index] ?? NaN) * (scales[Math.floor(index / ACTIVATION_GROUP)] ?? NaN);
        sum += activation * (matrix.values[feature * inFeatures + i] ?? NaN);
        magnitude += Math.abs(activation) * (matrix.magnitudes[feature * inFeatures + i] ?? NaN);
      }
      const at = row * outFeatures + feature;
      sums[at] = sum * norm;
      // The squares are a sum of as many terms as the row has.
      const roundings = inFeatures / ACTIVATION_GROUP + 16 + (normed ? inFeatures : 0);
      tolerances[at] = magnitude * norm * roundings * 2 ** -24;
    }
  }
  const at = (array: ArrayLike<number>, index: number) => array[index] ?? NaN;
  if (epilogue === 'store') return { values: sums, tolerances };
  if (epilogue === 'add') {
    return {
      values: sums.map((sum, index) => sum + at(before, index)),
      tolerances: tolerances.map(
        (tolerance, index) =>
          tolerance + (Math.abs(at(sums, index)) + Math.abs(at(before, index))) * 2 ** -23,
      ),
    };
  }
  const pairs = outFeatures / 2;
  const gateIndex = (index: number) => Math.floor(index / pairs) * outFeatures + (index % pairs);
  const values = Float64Array.from({ length: rows * pairs }, (_, index) => {
    const gate = gateIndex(index);
    return silu(at(sums, gate)) * at(sums, gate + pairs);
  });
  return {
    values,
    tolerances: values.map((value, index) => {
      const gate = gateIndex(index);
      const ofGate = 1.1 * Math.abs(at(sums, gate + pairs)) * at(tolerances, gate);
      const ofUp = Math.abs(silu(at(sums, gate))) * at(tolerances, gate + pairs);
      return ofGate + ofUp + Math.abs(value) * (8 + 2 * Math.abs(at(sums, gate))) * 2 ** -23;
    }),
  };
}

describe.each(EACH_KERNEL)('%s with int8 activations', (kernelName) => {
  describe.each(formatsFor(kernelName))('weights %s', (_, format) => {
    test.each(casesFor(format))(
      '$rows rows of $groups groups → $outFeatures, norm $normed, then $epilogue',
      async (each) => {
        const inputs = randomInputs(each, format);
        const { values, tolerances } = reference(each, inputs);
        const actual = await runOnGpu(kernelName, each, inputs);
        expect(actual.length).toBe(values.length);
        const wrong = Array.from(values).flatMap((value, index) => {
          const got = actual[index] ?? NaN;
          return Math.abs(got - value) <= (tolerances[index] ?? NaN) ? [] : [{ index, got, value }];
        });
        expect(wrong.slice(0, 3)).toEqual([]);
      },
    );
  });

  test.each(EACH_FORMAT.slice(0, 2))(
    'has the same bits with the builtin and without: %s',
    async (_, format) => {
      const each: Case = { rows: 6, groups: 11, outFeatures: 71, normed: true, epilogue: 'store' };
      // Without the builtin there would be nothing to compare.
      expect(tuningOf(gpu.device).usesPackedDot).toBe(true);
      const inputs = randomInputs(each, format);
      const packed = await runOnGpu(kernelName, each, inputs, { usesPackedDot: true });
      const plain = await runOnGpu(kernelName, each, inputs, { usesPackedDot: false });
      expect(packed.every(Number.isFinite)).toBe(true);
      expect(plain).toEqual(packed);
    },
  );

  test('rounds its input: other values than with f32 activations, and near them', async () => {
    const each: Case = { rows: 6, groups: 11, outFeatures: 71, normed: true, epilogue: 'store' };
    const inputs = randomInputs(each, FORMATS[0] ?? never());
    const rounded = await runOnGpu(kernelName, each, inputs);
    const floats = await runOnGpu(kernelName, each, inputs, { activations: 'f32' });
    // Rounding to 8 bits is some 0.4 % of the largest of a group; f32 alone is 1e-6.
    expect(relativeError(rounded, floats)).toBeGreaterThan(1e-3);
    expect(relativeError(rounded, floats)).toBeLessThan(2e-2);
  });

  test.each(EACH_FORMAT.slice(0, 2))(
    'a row has the same bits alone and in company: %s',
    async (_, format) => {
      const each: Case = { rows: 70, groups: 9, outFeatures: 67, normed: true, epilogue: 'store' };
      const inputs = randomInputs(each, format);
      const { inFeatures } = inputs;
      const together = await runOnGpu(kernelName, each, inputs);
      for (const [first, rows] of [
        [0, 1],
        [2, 3],
        [33, 7],
        [69, 1],
      ] as const) {
        const input = inputs.input.slice(first * inFeatures, (first + rows) * inFeatures);
        const alone = await runOnGpu(kernelName, { ...each, rows }, { ...inputs, input });
        expect(alone).toEqual(together.slice(first * 67, (first + rows) * 67));
      }
    },
  );

  test('groups of zeros, of vanishing and of huge values stay finite', async () => {
    const format = FORMATS[0] ?? never();
    const each: Case = { rows: 1, groups: 4, outFeatures: 8, normed: false, epilogue: 'store' };
    const inputs = randomInputs(each, format);
    const factors = [0, 1e-38, 1e-15, 1e15];
    for (const [alone, factor] of factors.entries()) {
      const input = inputs.input.map((value, index) =>
        Math.floor(index / 32) === alone ? value * factor : 0,
      );
      const output = await runOnGpu(kernelName, each, { ...inputs, input });
      const { values } = reference(each, { ...inputs, input });
      if (factor < 1e-30) expect([...output]).toEqual(new Array(8).fill(0));
      else expect(relativeError(output, values)).toBeLessThan(1e-5);
    }
  });

  test('refuses weights whose codes are no integers or whose groups are cut otherwise', async () => {
    const each: Case = { rows: 1, groups: 4, outFeatures: 8, normed: false, epilogue: 'store' };
    const inputs = randomInputs(each, FORMATS[0] ?? never());
    const refused: readonly MatrixFormat[] = [
      'bf16',
      { codes: 'u8', zero: 128, groupSize: 16, scales: 'f32' },
      { codes: 'e4m3', zero: 0, groupSize: 128, scales: 'f32' },
    ];
    for (const format of refused) {
      const matrix = randomWeights(format, [8, inputs.inFeatures]);
      const refusal = await refusalOf(() => runOnGpu(kernelName, each, { ...inputs, matrix }));
      expect(refusal).toMatchObject({ code: 'bad-argument', data: { name: 'activations' } });
    }
  });
});

function never(): never {
  throw new Error('There are no formats.');
}
