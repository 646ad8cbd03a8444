import f16Code from '../../../shaders/f16.wgsl?raw';
import unpackCode from '../../../shaders/unpack.wgsl?raw';
import unpackF16Code from '../../../shaders/unpack_f16.wgsl?raw';
import weightsCode from '../../../shaders/weights.wgsl?raw';
import e4m3Code from '../../../shaders/weights_e4m3.wgsl?raw';
import floatCode from '../../../shaders/weights_float.wgsl?raw';
import scalesCode from '../../../shaders/weights_scales.wgsl?raw';
import u4Code from '../../../shaders/weights_u4.wgsl?raw';
import u8Code from '../../../shaders/weights_u8.wgsl?raw';
import { BYTES_PER_ELEMENT } from '../../model/checkpoint.ts';
import { codeBytes, scaleBytes } from '../../model/quantized.ts';
import type { CodeKind } from '../../model/quantized.ts';
import type { Tuning } from '../tuning.ts';
import { FORMAT_CODE, SCALE_CODE } from '../weight-format.ts';
import type { MatrixFormat } from '../weight-format.ts';
import { checkBytes, checkSize } from './checks.ts';

/** Kernels read weights eight at a time. */
export const OCTET = 8;

const CODES: Readonly<Record<CodeKind, string>> = { u4: u4Code, u8: u8Code, e4m3: e4m3Code };

/** A matrix on the GPU, [outFeatures, inFeatures], row-major, as the checkpoint stores it. */
export interface WeightShape {
  readonly format: MatrixFormat;
  /** A multiple of 8, and of the group size. */
  readonly inFeatures: number;
  readonly outFeatures: number;
}

export interface WeightBuffers {
  /** Floats or codes. */
  readonly weights: GPUBuffer;
  /** Of a quantised matrix; null for floats. */
  readonly scales: GPUBuffer | null;
}

/** The WGSL that reads one storage format: bindings 0 (`weights`) and 1 (`scales`), `load_codes`, `group_scale` and `load_octet`. */
export interface WeightSource {
  /** Tells different texts apart in a kernel's name. */
  readonly name: string;
  /** What the text needs enabled; in front of everything. */
  readonly enables: string;
  readonly code: string;
  readonly overrides: Readonly<Record<string, number>>;
}

/** @param usesF16 halves are unpacked with `shader-f16`, which the device must have. */
export function weightSource(format: MatrixFormat, { usesF16 }: Pick<Tuning, 'usesF16'>): WeightSource {
  const enables = usesF16 ? f16Code : '';
  const code = weightsCode + (usesF16 ? unpackF16Code : unpackCode);
  const suffix = usesF16 ? ' f16' : '';
  if (typeof format === 'string') {
    return {
      name: `float${suffix}`,
      enables,
      code: code + floatCode,
      overrides: { weight_format: FORMAT_CODE[format] },
    };
  }
  return {
    name: format.codes + suffix,
    enables,
    code: code + CODES[format.codes] + scalesCode,
    overrides: {
      scale_format: SCALE_CODE[format.scales],
      group_octets: format.groupSize / OCTET,
      zero: format.zero,
    },
  };
}

/** Bytes of the floats or codes. */
export function weightBytes({ format, inFeatures, outFeatures }: WeightShape): number {
  const elements = inFeatures * outFeatures;
  return typeof format === 'string' ? elements * BYTES_PER_ELEMENT[format] : codeBytes(format, elements);
}

/** Bytes of the scales; 0 for floats. */
export function weightScaleBytes({ format, inFeatures, outFeatures }: WeightShape): number {
  return typeof format === 'string' ? 0 : scaleBytes(format, inFeatures * outFeatures);
}

/** @throws SkeinError `bad-argument` naming the size that does not fit. */
export function checkWeights(kernel: string, shape: WeightShape, { weights, scales }: WeightBuffers): void {
  const { format, inFeatures, outFeatures } = shape;
  checkSize(kernel, 'inFeatures', inFeatures, { multipleOf: OCTET });
  checkSize(kernel, 'outFeatures', outFeatures);
  checkBytes(kernel, 'weights', weights, weightBytes(shape));
  if (typeof format === 'string') return;
  checkSize(kernel, 'groupSize', format.groupSize, { multipleOf: OCTET });
  checkSize(kernel, 'inFeatures', inFeatures, { multipleOf: format.groupSize });
  checkBytes(kernel, 'scales', scales, weightScaleBytes(shape));
}
