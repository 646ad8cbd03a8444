import { GpuMemory } from '../../src/engine/gpu-memory.ts';
import { KernelCompiler } from '../../src/engine/kernel.ts';
import { takesInt8 } from '../../src/engine/weight-format.ts';
import type { LinearBuffers } from '../../src/engine/kernels/linear-shape.ts';
import { createMatmul } from '../../src/engine/kernels/matmul.ts';
import { createMatvecLane } from '../../src/engine/kernels/matvec-lane.ts';
import { createMatvec } from '../../src/engine/kernels/matvec.ts';
import { weightBytes, weightScaleBytes } from '../../src/engine/kernels/weights.ts';
import { TimedProduct } from '../../src/engine/timed-product.ts';
import { tuningOf } from '../../src/engine/tuning.ts';
import type { Tuning } from '../../src/engine/tuning.ts';
import type { MatrixFormat } from '../../src/engine/weight-format.ts';
import type { Activations } from '../../src/protocol/activations.ts';
import { relativeError } from '../reference/relative-error.ts';
import type { BenchOptions } from './bench-command.ts';
import { measureBound } from './bound.ts';
import type { AdapterBound } from './bound.ts';
import { openBenchDevice } from './gpu.ts';
import { atLeast, atMost, benchReport } from './report.ts';
import type { BenchReport, Check, Table } from './report.ts';
import { interleave } from './timing.ts';
import type { Contender, Timing } from './timing.ts';

/** On a GPU as large as the aim is stated for; on a processor what it does in milliseconds. */
const NATIVE_FEATURES = 4096;
const SOFTWARE_FEATURES = 1024;
const ROW_COUNTS = [1, 4, 32] as const;
const ROUNDS = { rounds: 7, warmUps: 1, budgetMs: 20_000 };
/** In one submit, so that its own cost does not count. */
const DISPATCHES = { native: 50, lavapipe: 4, swiftshader: 1 } as const;
/** Orders of summation differ; a wrong kernel is off by more than one. */
const MAX_RELATIVE_ERROR = 1e-4;
const NATIVE_BANDWIDTH_SHARE = 0.7;
/** Activations rounded to int8 are off by some 0.5 %, and not at all only if nobody rounded them. */
const INT8_ERROR = { atLeast: 1e-3, atMost: 0.02 };

const FORMATS: Readonly<Record<string, MatrixFormat>> = {
  f32: 'f32',
  bf16: 'bf16',
  '8-bit': { codes: 'u8', zero: 128, groupSize: 32, scales: 'f16' },
  '4-bit': { codes: 'u4', zero: 8, groupSize: 32, scales: 'f16' },
};

interface Variant {
  readonly name: string;
  readonly create: typeof createMatvec;
  readonly tuning: Partial<Tuning>;
  readonly activations: Activations;
}

const LAYOUTS = [
  { name: 'matvec', create: createMatvec, tuning: { usesSubgroups: false } },
  { name: 'matvec subgroups', create: createMatvec, tuning: { usesSubgroups: true } },
  { name: 'matvec_lane', create: createMatvecLane, tuning: { usesSubgroups: false } },
  { name: 'matvec_lane subgroups', create: createMatvecLane, tuning: { usesSubgroups: true } },
  { name: 'matmul', create: createMatmul, tuning: {} },
];

/**
 * All ways to compute the same map that the device has the features for; with int8 activations those without subgroups only where it has
 * no subgroups, and the matrix product only with the builtin: they compile for long, and nobody would choose them.
 */
function variantsOf(format: MatrixFormat, own: Tuning): Variant[] {
  const variants = LAYOUTS.flatMap((layout): Variant[] => {
    const floats = { ...layout, activations: 'f32' } as const;
    const hasSubgroups = layout.tuning.usesSubgroups === true;
    const isOutdone = own.usesSubgroups && layout.tuning.usesSubgroups === false;
    if (!takesInt8(format) || isOutdone) return [floats];
    return [
      floats,
      ...(hasSubgroups || !own.usesPackedDot ? [true, false] : [true]).map((usesPackedDot) => ({
        ...layout,
        name: `${layout.name} ${usesPackedDot ? 'packed' : 'plain'}`,
        tuning: { ...layout.tuning, usesPackedDot },
        activations: 'int8' as const,
      })),
    ];
  });
  return variants.filter(
    ({ tuning }) =>
      (tuning.usesSubgroups !== true || own.usesSubgroups) &&
      (tuning.usesPackedDot !== true || own.usesPackedDot),
  );
}

/** The linear kernels against each other, format by format and by rows, and against what the adapter can do. */
export async function run({ driver, onProgress }: BenchOptions): Promise<BenchReport> {
  const { device, adapterName } = await openBenchDevice();
  const bound = await measureBound(device);
  const features = driver === 'native' ? NATIVE_FEATURES : SOFTWARE_FEATURES;
  const tables: Table[] = [
    {
      title: 'Bounds of the adapter',
      rows: [{ 'copy GB/s': bound.copyBytesPerSecond / 1e9, 'GFLOP/s': bound.flopsPerSecond / 1e9 }],
    },
  ];
  const checks: Check[] = [];
  for (const rows of ROW_COUNTS) {
    const table: Table['rows'][number][] = [];
    for (const [name, format] of Object.entries(FORMATS)) {
      onProgress(`${name}, ${rows} rows`);
      const measured = await measureCase(device, DISPATCHES[driver], format, features, rows);
      checks.push(atMost(`${name}, ${rows} rows: relative error`, measured.error, MAX_RELATIVE_ERROR));
      if (measured.roundingError !== null) {
        const { roundingError } = measured;
        checks.push(atLeast(`${name}, ${rows} rows: rounding`, roundingError, INT8_ERROR.atLeast));
        checks.push(atMost(`${name}, ${rows} rows: rounding`, roundingError, INT8_ERROR.atMost));
      }
      const rates = measured.timings.map((timing) => ratesOf(timing, format, features, rows));
      const bestShare = Math.max(...rates.map((rate) => rate.bytesPerSecond / bound.copyBytesPerSecond));
      const ofFloats = rates.filter((_, index) => measured.variants[index]?.activations === 'f32');
      checks.push(...plausible(`${name}, ${rows} rows`, ofFloats, bound));
      const bestFloatsMs = Math.min(
        ...measured.timings.flatMap(({ minMs }, index) =>
          measured.variants[index]?.activations === 'f32' ? [minMs] : [],
        ),
      );
      if (driver === 'native' && name === '4-bit' && rows === 1) {
        checks.push(atLeast('4-bit matvec, share of bandwidth', bestShare, NATIVE_BANDWIDTH_SHARE));
      }
      for (const [index, { name: kernel, minMs }] of measured.timings.entries()) {
        const rate = rates[index];
        table.push({
          weights: name,
          activations: measured.variants[index]?.activations ?? null,
          kernel,
          'best ms': minMs,
          'speed of best with f32': bestFloatsMs / minMs,
          'GB/s': (rate?.bytesPerSecond ?? NaN) / 1e9,
          'GFLOP/s': (rate?.flopsPerSecond ?? NaN) / 1e9,
          'of bandwidth': (rate?.bytesPerSecond ?? NaN) / bound.copyBytesPerSecond,
          'of f32 arithmetic': (rate?.flopsPerSecond ?? NaN) / bound.flopsPerSecond,
        });
      }
    }
    tables.push({ title: `${features} × ${features}, ${rows} rows`, rows: table });
  }
  device.destroy();
  return benchReport('kernels', adapterName, tables, checks);
}

interface Rates {
  /** Of weights and scales. */
  readonly bytesPerSecond: number;
  readonly flopsPerSecond: number;
}

function ratesOf({ minMs }: Timing, format: MatrixFormat, features: number, rows: number): Rates {
  const shape = { format, inFeatures: features, outFeatures: features };
  const seconds = minMs / 1000;
  return {
    bytesPerSecond: (weightBytes(shape) + weightScaleBytes(shape)) / seconds,
    flopsPerSecond: (2 * rows * features * features) / seconds,
  };
}

/** More than the adapter can do is a bug in the measurement. Products of integers may be faster than those of floats. */
function plausible(name: string, rates: readonly Rates[], bound: AdapterBound): Check[] {
  const share = Math.max(...rates.map(({ flopsPerSecond }) => flopsPerSecond / bound.flopsPerSecond));
  return [atMost(`${name}: share of the arithmetic bound`, share, 1)];
}

interface Measured {
  readonly variants: readonly Variant[];
  /** In the order of the variants. */
  readonly timings: readonly Timing[];
  /** Of variants with the same activations. */
  readonly error: number;
  /** Of int8 activations against f32; null for formats that do not take them. */
  readonly roundingError: number | null;
}

async function measureCase(
  device: GPUDevice,
  dispatches: number,
  format: MatrixFormat,
  features: number,
  rows: number,
): Promise<Measured> {
  const memory = new GpuMemory(device);
  try {
    const own = tuningOf(device);
    const variants = variantsOf(format, own);
    const weights = { format, inFeatures: features, outFeatures: features };
    const product = await TimedProduct.allocate(memory, weights, rows);
    fill(device, product.buffers);
    const { output } = product.buffers;
    const staging = memory.staging('staging', output.size);
    await memory.allocated();
    const contenders: Contender[] = [];
    let error = 0;
    const expected: Partial<Record<Activations, Float32Array>> = {};
    for (const { name, create, tuning, activations } of variants) {
      const compiler = new KernelCompiler(device, { ...own, ...tuning });
      const kernel = await create(compiler, { ...product.shape, activations }, product.buffers);
      await product.time(kernel, rows, 1);
      const values = await takeOutput(device, output, staging);
      expected[activations] ??= values;
      error = Math.max(error, relativeError(values, expected[activations]));
      contenders.push({
        name,
        run: async () => (await product.time(kernel, rows, dispatches)) / dispatches,
      });
    }
    const { f32, int8 } = expected;
    const roundingError = f32 && int8 ? relativeError(int8, f32) : null;
    return { variants, timings: await interleave(contenders, ROUNDS), error, roundingError };
  } finally {
    memory.dispose();
  }
}

/** Numbers of about 1 as floats of any width, any codes, and scales that suit them. */
function fill(device: GPUDevice, { weights, scales, input }: LinearBuffers): void {
  const write = (buffer: GPUBuffer, word: (index: number) => number) => {
    const words = Uint32Array.from({ length: buffer.size / Uint32Array.BYTES_PER_ELEMENT }, (_, i) =>
      word(i),
    );
    device.queue.writeBuffer(buffer, 0, words);
  };
  write(weights, (index) => 0x3f803f80 ^ (Math.imul(index, 0x9e3779b1) & 0x807f807f));
  if (scales !== null) write(scales, () => 0x2c002c00);
  write(input, (index) => 0x3f000000 ^ (Math.imul(index, 0x85ebca6b) & 0x807fffff));
}

/** What a kernel left in the output, which is cleared: the next one cannot pass by writing nothing. */
async function takeOutput(device: GPUDevice, output: GPUBuffer, staging: GPUBuffer): Promise<Float32Array> {
  const encoder = device.createCommandEncoder();
  encoder.copyBufferToBuffer(output, 0, staging, 0, output.size);
  encoder.clearBuffer(output);
  device.queue.submit([encoder.finish()]);
  await staging.mapAsync(GPUMapMode.READ);
  const values = new Float32Array(staging.getMappedRange().slice(0));
  staging.unmap();
  return values;
}
