import type { TensorFormat } from '../model/checkpoint.ts';

/**
 * Value of the `weight_format` (and `cache_format`) override of the kernels. Halves are packed two per u32 and unpacked with core WGSL
 * (`unpack2x16float`, or a shift for bf16), so they need no `shader-f16`: a bf16 checkpoint takes its own size on every GPU, exactly.
 */
export const FORMAT_CODE: Readonly<Record<TensorFormat, number>> = { f32: 0, f16: 1, bf16: 2 };

/**
 * How a slice stores numbers. `f32`: weights as the checkpoint has them, cache in f32.
 * `f16`: 4-byte weights are rounded to f16, 2-byte ones stay as they are; cache in f16.
 */
export type Precision = 'f32' | 'f16';
