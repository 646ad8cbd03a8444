import { halfToFloat } from '../protocol/half.ts';

/** What an integer code stands for before it is scaled: an unsigned number, or the bits of an 8-bit float (OCP E4M3, no infinities). */
export type CodeKind = 'u4' | 'u8' | 'e4m3';

/**
 * How the groups of a row are scaled. `f16` and `f32`: one scale. `f32-pair`: a scale and an offset.
 * value = scale · (code − zero) + offset, computed in f32.
 */
export type ScaleKind = 'f16' | 'f32' | 'f32-pair';

/** The one layout that every quantised checkpoint is repacked into, so that formats are loaders and not kernels. */
export interface QuantizedFormat {
  readonly codes: CodeKind;
  /** Subtracted from every code: 8 for symmetric 4-bit, 128 for symmetric 8-bit, 0 where the offset does it, and for `e4m3`. */
  readonly zero: number;
  /** Consecutive elements of a row that share a scale; a multiple of 8 that divides the row. */
  readonly groupSize: number;
  readonly scales: ScaleKind;
}

/**
 * A matrix [rows, columns] of a checkpoint, row-major.
 *
 *     codes   u4: words of 8 elements; byte j of a word holds element j in its low and element j + 4 in its high nibble.
 *             u8, e4m3: a byte per element.
 *     scales  [rows, columns / groupSize] little-endian f16 or f32, or f32 [rows, columns / groupSize, 2] (scale, offset)
 */
export interface QuantizedMatrix {
  readonly kind: 'quantized';
  readonly name: string;
  readonly format: QuantizedFormat;
  /** [rows, columns]; columns a multiple of 8. */
  readonly shape: readonly [rows: number, columns: number];
  readonly codes: Uint8Array<ArrayBuffer>;
  readonly scales: Uint8Array<ArrayBuffer>;
}

export const CODE_BITS: Readonly<Record<CodeKind, number>> = { u4: 4, u8: 8, e4m3: 8 };
export const SCALE_BYTES: Readonly<Record<ScaleKind, number>> = { f16: 2, f32: 4, 'f32-pair': 8 };

export function codeBytes({ codes }: QuantizedFormat, elements: number): number {
  return (elements * CODE_BITS[codes]) / 8;
}

export function scaleBytes({ groupSize, scales }: QuantizedFormat, elements: number): number {
  return (elements / groupSize) * SCALE_BYTES[scales];
}

/** The code of an element, of 0 to 255. @param index of the element in the whole matrix, row-major. */
export function codeAt({ format, codes }: QuantizedMatrix, index: number): number {
  if (format.codes !== 'u4') return codes[index] ?? 0;
  const within = index % 8;
  const byte = codes[(index - within) / 2 + (within % 4)] ?? 0;
  return within < 4 ? byte & 0x0f : byte >> 4;
}

/** Packs codes of 0 to 15 into words of 8 elements. @param codes one per byte; as many as a multiple of 8. */
export function packNibbles(codes: Uint8Array): Uint8Array<ArrayBuffer> {
  const packed = new Uint8Array(codes.length / 2);
  for (let first = 0; first < codes.length; first += 8) {
    for (let byte = 0; byte < 4; byte++) {
      const low = codes[first + byte] ?? 0;
      const high = codes[first + byte + 4] ?? 0;
      packed[first / 2 + byte] = low | (high << 4);
    }
  }
  return packed;
}

/** No offset, and not +0, which would take the sign of a negative zero. */
const NO_OFFSET = -0;

/** What the layout means, in plain code: f32 [rows, columns]. Every step is rounded to f32, as the kernels do. */
export function dequantize(matrix: QuantizedMatrix): Float32Array<ArrayBuffer> {
  const { format, shape, scales } = matrix;
  const [rows, columns] = shape;
  const values = new Float32Array(rows * columns);
  const view = new DataView(scales.buffer, scales.byteOffset, scales.byteLength);
  for (let index = 0; index < values.length; index++) {
    const group = Math.floor(index / format.groupSize);
    const [scale, offset] = readScale(view, format.scales, group);
    const code = codeAt(matrix, index);
    const integer = format.codes === 'e4m3' ? e4m3ToFloat(code) : code - format.zero;
    values[index] = Math.fround(scale * integer) + offset;
  }
  return values;
}

function readScale(view: DataView, kind: ScaleKind, group: number): [scale: number, offset: number] {
  switch (kind) {
    case 'f16':
      return [halfToFloat(view.getUint16(2 * group, true)), NO_OFFSET];
    case 'f32':
      return [view.getFloat32(4 * group, true), NO_OFFSET];
    case 'f32-pair':
      return [view.getFloat32(8 * group, true), view.getFloat32(8 * group + 4, true)];
  }
}

/** OCP FP8 E4M3: its bits are those of a half with a smaller exponent, so shifted into place it is off by 2^8. NaN for 0x7f and 0xff. */
export function e4m3ToFloat(code: number): number {
  if ((code & 0x7f) === 0x7f) return NaN;
  return halfToFloat(((code & 0x80) << 8) | ((code & 0x7f) << 7)) * 256;
}
