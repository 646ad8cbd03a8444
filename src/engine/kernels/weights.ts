import code from '../../../shaders/weights.wgsl?raw';
import { BYTES_PER_ELEMENT } from '../../model/checkpoint.ts';
import type { TensorFormat } from '../../model/checkpoint.ts';
import { checkBytes, checkSize } from './checks.ts';

/** Goes in front of the code of a kernel that reads weights; gives it binding 0, `weights`. */
export const WEIGHTS_CODE = code;

/** Kernels read weights eight at a time: two vec4 of f32, or one vec4 of packed halves. */
const IN_FEATURES_MULTIPLE = 8;

/** A matrix on the GPU, [outFeatures, inFeatures], row-major, as the checkpoint stores it. */
export interface WeightShape {
  readonly format: TensorFormat;
  /** A multiple of 8. */
  readonly inFeatures: number;
  readonly outFeatures: number;
}

export function weightBytes({ format, inFeatures, outFeatures }: WeightShape): number {
  return inFeatures * outFeatures * BYTES_PER_ELEMENT[format];
}

/** @throws SkeinError `bad-argument` naming the size that does not fit. */
export function checkWeights(kernel: string, shape: WeightShape, weights: GPUBuffer): void {
  checkSize(kernel, 'inFeatures', shape.inFeatures, { multipleOf: IN_FEATURES_MULTIPLE });
  checkSize(kernel, 'outFeatures', shape.outFeatures);
  checkBytes(kernel, 'weights', weights, weightBytes(shape));
}
