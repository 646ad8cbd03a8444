import dotPackedCode from '../../../shaders/dot_packed.wgsl?raw';
import dotPlainCode from '../../../shaders/dot_plain.wgsl?raw';
import inputCode from '../../../shaders/input_vectors.wgsl?raw';
import sharedCode from '../../../shaders/int8.wgsl?raw';
import type { Tuning } from '../tuning.ts';
import type { LinearKernelText } from './linear-shape.ts';

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
