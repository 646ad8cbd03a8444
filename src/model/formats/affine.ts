import { SkeinError } from '../../protocol/errors.ts';
import { floatsFromHalves, halvesFromFloats } from '../../protocol/half.ts';
import type { DenseTensor, TensorFormat } from '../checkpoint.ts';
import { denseFloats } from '../dense-floats.ts';
import { codeBytes, scaleBytes } from '../quantized.ts';
import type { CodeKind, QuantizedFormat, QuantizedMatrix, ScaleKind } from '../quantized.ts';
import type { MatrixShape, Part } from './stored-format.ts';
import { bytesOf } from './words.ts';

/** dtypes of scales in which a difference of two products with a code is exact in f32. */
export const HALF_SCALES = ['F16', 'BF16'] as const;
export const FLOAT_SCALES = ['F16', 'BF16', 'F32'] as const;

const FORMATS: ReadonlyMap<string, TensorFormat> = new Map([
  ['F16', 'f16'],
  ['BF16', 'bf16'],
  ['F32', 'f32'],
]);

/** @param part of dtype F16, BF16 or F32. Exact. */
export function floatsOf({ dtype, bytes }: Part): Float32Array<ArrayBuffer> {
  const format = FORMATS.get(dtype);
  if (format) return denseFloats({ format, bytes });
  throw new SkeinError('internal', `Scales of dtype ${dtype} were let through.`);
}

/** @param values [rows, columns]. @returns [columns, rows]. */
export function transposeFloats(
  values: Float32Array,
  [rows, columns]: readonly [number, number],
): Float32Array<ArrayBuffer> {
  const target = new Float32Array(values.length);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      target[column * rows + row] = values[row * columns + column] ?? 0;
    }
  }
  return target;
}

export interface ScaledCodes {
  readonly name: string;
  readonly shape: MatrixShape;
  readonly codes: Uint8Array<ArrayBuffer>;
  readonly kind: CodeKind;
  readonly groupSize: number;
  /** [rows, columns / groupSize] */
  readonly scales: Float32Array<ArrayBuffer>;
  /** As they were stored. */
  readonly scalesDtype: string;
}

/** value = scale · (code − zero) with one zero for all. */
export function symmetricMatrix(matrix: ScaledCodes & { readonly zero: number }): QuantizedMatrix {
  const { name, shape, codes, kind, groupSize, scales, zero } = matrix;
  const halves = scaleKind(matrix.scalesDtype) === 'f16' ? exactHalves(scales) : null;
  const format = { codes: kind, zero, groupSize, scales: halves ? 'f16' : 'f32' } as const;
  return { kind: 'quantized', name, shape, format, codes, scales: bytesOf(halves ?? scales) };
}

/** @returns null when one of the values is not a half. */
function exactHalves(values: Float32Array): Uint16Array<ArrayBuffer> | null {
  const halves = halvesFromFloats(values);
  return floatsFromHalves(halves).every((half, index) => Object.is(half, values[index])) ? halves : null;
}

/** value = scale · code + offset. @param offsets like the scales. */
export function affineMatrix(
  matrix: Omit<ScaledCodes, 'scalesDtype'> & { readonly offsets: Float32Array },
): QuantizedMatrix {
  const { name, shape, codes, kind, groupSize, scales, offsets } = matrix;
  const pairs = new Float32Array(2 * scales.length);
  for (let group = 0; group < scales.length; group++) {
    pairs[2 * group] = scales[group] ?? 0;
    pairs[2 * group + 1] = offsets[group] ?? 0;
  }
  const format = { codes: kind, zero: 0, groupSize, scales: 'f32-pair' } as const;
  return { kind: 'quantized', name, shape, format, codes, scales: bytesOf(pairs) };
}

/**
 * value = scale · (code − zero). Where all zeros are one, so is that of the matrix; else they become offsets −scale · zero, which
 * loses nothing while scales have 11 bits: both products, and their difference, fit into the 24 of f32.
 * @param zeros like the scales.
 */
export function zeroPointMatrix(
  matrix: ScaledCodes & { readonly zeros: Float32Array; readonly isSymmetric: boolean },
): QuantizedMatrix {
  const { zeros, scales } = matrix;
  const [zero = 0] = zeros;
  if (matrix.isSymmetric && zeros.every((other) => other === zero))
    return symmetricMatrix({ ...matrix, zero });
  return affineMatrix({ ...matrix, offsets: scales.map((scale, group) => -scale * (zeros[group] ?? 0)) });
}

/**
 * The narrowest kind that holds symmetric scales of this dtype exactly. For BF16 it does as long as they are from 2^-17 to 65,280, which
 * those of weights are; a matrix with others takes f32.
 */
export function scaleKind(scalesDtype: string): 'f16' | 'f32' {
  return scalesDtype === 'F32' ? 'f32' : 'f16';
}

/** Bytes of codes and scales of a matrix in the internal layout. */
export function layoutBytes(
  [rows, columns]: MatrixShape,
  codes: CodeKind,
  groupSize: number,
  scales: ScaleKind,
): number {
  const format: QuantizedFormat = { codes, zero: 0, groupSize, scales };
  return codeBytes(format, rows * columns) + scaleBytes(format, rows * columns);
}

/** Floats, for what the layout cannot say. @param values [rows, columns]. */
export function denseMatrix(
  name: string,
  shape: MatrixShape,
  values: Float32Array<ArrayBuffer>,
): DenseTensor {
  return { kind: 'dense', name, format: 'f32', shape, bytes: bytesOf(values) };
}
