import type { StepShape } from '../step.ts';
import { checkBytes, checkSize } from './checks.ts';
import { checkWeights } from './weights.ts';
import type { WeightShape } from './weights.ts';

/** output = input × weightsᵀ (+ bias), for all rows of a step or only those of the head. */
export interface LinearShape extends WeightShape {
  /** Columns of `output`; more than `outFeatures` when several parts of a matrix fill it side by side. */
  readonly outStride: number;
  /** First column of `output` that this part fills. */
  readonly outOffset: number;
  readonly rowsOf: 'step' | 'head';
}

export interface LinearBuffers {
  readonly weights: GPUBuffer;
  readonly step: GPUBuffer;
  /** f32 [rows, inFeatures]. */
  readonly input: GPUBuffer;
  /** f32 [outFeatures], or null. */
  readonly bias: GPUBuffer | null;
  /** f32 [rows, outStride]. */
  readonly output: GPUBuffer;
}

/** Bindings of matvec and matmul, in order. */
export const LINEAR_BINDINGS = {
  weights: 'read',
  step: 'uniform',
  sizes: 'uniform',
  input: 'read',
  bias: 'read',
  output: 'read-write',
} as const;

/** Six u32, rounded up to 16-byte alignment. */
const SIZES_BYTES = 32;

/** @throws SkeinError `bad-argument` naming the size that does not fit. */
export function checkLinear(kernel: string, shape: LinearShape, buffers: LinearBuffers): void {
  const { outFeatures, outStride, outOffset } = shape;
  checkWeights(kernel, shape, buffers.weights);
  checkSize(kernel, 'outOffset', outOffset, { min: 0 });
  checkSize(kernel, 'outStride', outStride, { min: outOffset + outFeatures });
  if (buffers.bias !== null) {
    checkBytes(kernel, 'bias', buffers.bias, outFeatures * Float32Array.BYTES_PER_ELEMENT);
  }
}

/** @throws SkeinError `bad-argument` for a step that does not fit the buffers. */
export function checkLinearStep(
  kernel: string,
  shape: LinearShape,
  buffers: LinearBuffers,
  rows: number,
): void {
  checkBytes(kernel, 'input', buffers.input, rows * shape.inFeatures * Float32Array.BYTES_PER_ELEMENT);
  checkBytes(kernel, 'output', buffers.output, rows * shape.outStride * Float32Array.BYTES_PER_ELEMENT);
}

/**
 * @param device makes the `sizes` uniform; it is freed with the kernel bound to it.
 * @returns what matvec and matmul bind.
 */
export function linearBindings(
  device: GPUDevice,
  shape: LinearShape,
  buffers: LinearBuffers,
): Record<keyof typeof LINEAR_BINDINGS, GPUBuffer> {
  const fields = [
    shape.inFeatures,
    shape.outFeatures,
    shape.outStride,
    shape.outOffset,
    buffers.bias === null ? 0 : 1,
    shape.rowsOf === 'head' ? 1 : 0,
  ];
  const sizes = device.createBuffer({
    label: 'sizes',
    size: SIZES_BYTES,
    usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
  });
  device.queue.writeBuffer(sizes, 0, Uint32Array.from(fields));
  // Every binding needs a buffer; without a bias this one is never read.
  return { ...buffers, sizes, bias: buffers.bias ?? buffers.weights };
}

export function linearRows(shape: LinearShape, step: StepShape): number {
  return shape.rowsOf === 'head' ? step.headRows : step.rows;
}
