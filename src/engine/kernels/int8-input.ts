import dotPackedCode from '../../../shaders/dot_packed.wgsl?raw';
import dotPlainCode from '../../../shaders/dot_plain.wgsl?raw';
import inputCode from '../../../shaders/input_vectors.wgsl?raw';
import sharedCode from '../../../shaders/int8.wgsl?raw';
import type { Tuning } from '../tuning.ts';
import type { MatrixFormat } from '../weight-format.ts';
import type { LinearKernelText } from './linear-shape.ts';

/** Consecutive values of an input row that share a scale. */
const GROUP_VALUES = 32;

/** Whether a matrix can be multiplied with int8 activations: integer codes whose scales do not change within a group of them. */
export function takesInt8(format: MatrixFormat): boolean {
  if (typeof format === 'string' || format.codes === 'e4m3') return false;
  return format.groupSize % GROUP_VALUES === 0;
}

/**
 * A kernel with int8 input, put together from what all of them share.
 * @param name tells apart what `code` is put together from.
 */
export function int8Text(
  name: string,
  code: string,
  { usesPackedDot }: Tuning,
  usesSubgroups: boolean,
): LinearKernelText {
  return {
    name: `${name} int8 ${usesPackedDot ? 'packed' : 'plain'}`,
    code: (usesPackedDot ? dotPackedCode : dotPlainCode) + inputCode + sharedCode + code,
    usesSubgroups,
  };
}
