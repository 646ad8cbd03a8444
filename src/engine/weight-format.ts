import type { TensorFormat } from '../model/checkpoint.ts';
import type { QuantizedFormat, ScaleKind } from '../model/quantized.ts';

/** How a matrix lies on the GPU: as the checkpoint has it. */
export type MatrixFormat = TensorFormat | QuantizedFormat;

/**
 * Value of the `weight_format` (and `cache_format`) override of the kernels. Halves are packed two per u32 and unpacked with core WGSL
 * (`unpack2x16float`, or a product for bf16), so they need no `shader-f16`: a bf16 checkpoint takes its own size on every GPU, exactly.
 */
export const FORMAT_CODE: Readonly<Record<TensorFormat, number>> = { f32: 0, f16: 1, bf16: 2 };

/** Value of the `scale_format` override. */
export const SCALE_CODE: Readonly<Record<ScaleKind, number>> = { f32: 0, f16: 1, 'f32-pair': 2 };

/**
 * How a slice stores numbers. `f32`: weights as the checkpoint has them, cache in f32.
 * `f16`: 4-byte weights are rounded to f16, 2-byte ones and quantised ones stay as they are; cache in f16.
 */
export type Precision = 'f32' | 'f16';

export function isSameFormat(one: MatrixFormat, other: MatrixFormat): boolean {
  if (typeof one === 'string' || typeof other === 'string') return one === other;
  return (
    one.codes === other.codes &&
    one.zero === other.zero &&
    one.groupSize === other.groupSize &&
    one.scales === other.scales
  );
}

/** Consecutive values of an input row that share a scale when they are rounded to int8. */
const INT8_GROUP_VALUES = 32;

/** Whether a matrix can be multiplied with int8 activations: integer codes whose scales do not change within a group of them. */
export function takesInt8(format: MatrixFormat): boolean {
  if (typeof format === 'string' || format.codes === 'e4m3') return false;
  return format.groupSize % INT8_GROUP_VALUES === 0;
}
