import type { StepShape } from '../step.ts';
import { FORMAT_CODE } from '../weight-format.ts';
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
  input: 'read',
  bias: 'read',
  output: 'read-write',
} as const;

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

/** The overrides that matvec and matmul share. */
export function linearOverrides(shape: LinearShape, hasBias: boolean): Readonly<Record<string, number>> {
  return {
    weight_format: FORMAT_CODE[shape.format],
    in_features: shape.inFeatures,
    out_features: shape.outFeatures,
    out_stride: shape.outStride,
    out_offset: shape.outOffset,
    has_bias: hasBias ? 1 : 0,
    of_head_rows: shape.rowsOf === 'head' ? 1 : 0,
  };
}

export function linearBindings(buffers: LinearBuffers): Record<keyof typeof LINEAR_BINDINGS, GPUBuffer> {
  // Every binding needs a buffer; without a bias this one is never read.
  return { ...buffers, bias: buffers.bias ?? buffers.weights };
}

export function linearRows(shape: LinearShape, step: StepShape): number {
  return shape.rowsOf === 'head' ? step.headRows : step.rows;
}
