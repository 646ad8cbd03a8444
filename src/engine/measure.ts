import { SkeinError } from '../protocol/errors.ts';
import type { EngineDevice } from './device.ts';
import { GpuMemory } from './gpu-memory.ts';
import { KernelCompiler } from './kernel.ts';
import { createLinear } from './kernels/linear.ts';
import { weightBytes } from './kernels/weights.ts';
import type { WeightShape } from './kernels/weights.ts';
import type { StepKernel } from './step.ts';
import { TimedProduct } from './timed-product.ts';

/** A rate is taken over at least this long, so that a submit's own cost does not count. */
const MEASURE_MS = 60;
const MAX_REPEATS = 4096;
/** Memory is probed in buffers of this size, for speed, and in halves of it down to the smallest where one no longer fits. */
const MAX_PROBE_BYTES = 256 * 1024 * 1024;
const MIN_PROBE_BYTES = 16 * 1024 * 1024;
/** 16 MiB of half-width weights: more than the caches that would flatter the rate on most GPUs, and small for the slowest. */
const VECTOR_FEATURES = { inFeatures: 2048, outFeatures: 4096 };
const MATRIX_FEATURES = { inFeatures: 512, outFeatures: 512 };
const MATRIX_ROWS = 64;
const FLOPS_PER_MULTIPLY_ADD = 2;

export interface DeviceMeasurement {
  /** Bytes that could be allocated, up to the limit. */
  readonly memoryBytes: number;
  /** Weight bytes read per second by a matrix × vector product: what decoding runs at. */
  readonly matvecBytesPerSecond: number;
  /** Operations per second of a matrix × matrix product: what prompts run at. */
  readonly matmulFlopsPerSecond: number;
}

/**
 * Measures the device with the kernels that will run on it.
 * @throws SkeinError `aborted`, `device-lost`, `out-of-memory` when not even the smallest test fits.
 */
export async function measureDevice(
  { device }: EngineDevice,
  options: { readonly memoryLimitBytes: number; readonly signal: AbortSignal },
): Promise<DeviceMeasurement> {
  const { memoryLimitBytes, signal } = options;
  const memory = new GpuMemory(device);
  try {
    const vector = await buildProduct(memory, VECTOR_FEATURES, 1);
    const vectorSeconds = await secondsPerPass(vector, 1, signal);
    const matrix = await buildProduct(memory, MATRIX_FEATURES, MATRIX_ROWS);
    const matrixSeconds = await secondsPerPass(matrix, MATRIX_ROWS, signal);
    const { inFeatures, outFeatures } = MATRIX_FEATURES;
    return {
      memoryBytes: await probeMemory(device, memoryLimitBytes, signal),
      matvecBytesPerSecond: weightBytes(vector.product.shape) / vectorSeconds,
      matmulFlopsPerSecond: (FLOPS_PER_MULTIPLY_ADD * MATRIX_ROWS * inFeatures * outFeatures) / matrixSeconds,
    };
  } finally {
    memory.dispose();
  }
}

interface Measured {
  readonly product: TimedProduct;
  readonly kernel: StepKernel;
}

async function buildProduct(
  memory: GpuMemory,
  features: Pick<WeightShape, 'inFeatures' | 'outFeatures'>,
  rows: number,
): Promise<Measured> {
  const product = await TimedProduct.allocate(memory, { format: 'f16', ...features }, rows);
  const kernel = await createLinear(KernelCompiler.of(memory.device), product.shape, product.buffers);
  return { product, kernel };
}

async function secondsPerPass(
  { product, kernel }: Measured,
  rows: number,
  signal: AbortSignal,
): Promise<number> {
  await product.time(kernel, rows, 1);
  for (let repeats = 1; ; repeats *= 2) {
    if (signal.aborted) throw new SkeinError('aborted', 'The measurement was cancelled.');
    const elapsedMs = await product.time(kernel, rows, repeats);
    if (elapsedMs >= MEASURE_MS || repeats >= MAX_REPEATS) return elapsedMs / repeats / 1000;
  }
}

/** Allocates until the limit or the GPU says stop, and frees it all. */
async function probeMemory(device: GPUDevice, limitBytes: number, signal: AbortSignal): Promise<number> {
  const memory = new GpuMemory(device);
  try {
    let probedBytes = 0;
    let stepBytes = Math.min(MAX_PROBE_BYTES, device.limits.maxBufferSize);
    while (probedBytes < limitBytes && stepBytes >= MIN_PROBE_BYTES) {
      if (signal.aborted) throw new SkeinError('aborted', 'The measurement was cancelled.');
      const sizeBytes = Math.min(stepBytes, limitBytes - probedBytes);
      if (await fits(memory, sizeBytes)) probedBytes += sizeBytes;
      else stepBytes /= 2;
    }
    if (probedBytes === 0) {
      throw new SkeinError(
        'out-of-memory',
        `This GPU has no room for ${Math.min(MIN_PROBE_BYTES, limitBytes)} bytes. Close other programs that use it.`,
      );
    }
    return probedBytes;
  } finally {
    memory.dispose();
  }
}

async function fits(memory: GpuMemory, sizeBytes: number): Promise<boolean> {
  try {
    memory.storage('memory probe', sizeBytes);
    await memory.allocated();
    return true;
  } catch (thrown) {
    if (thrown instanceof SkeinError && thrown.code === 'out-of-memory') return false;
    throw thrown;
  }
}
