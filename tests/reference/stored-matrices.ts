import { bfloat16ToNumber, halfToNumber } from './number-formats.ts';
import type { RawTensor } from '../fixtures/raw-safetensors.ts';

/**
 * What the quantised formats of safetensors checkpoints mean, one element after the other, from the stored bytes, in f32 as the
 * original kernels compute. Written from the formats' descriptions; nothing is shared with the loaders.
 */
export type StoredParts = Readonly<Record<string, RawTensor>>;

/** @returns f32 [rows, columns]. */
type Elements = (rows: number, columns: number) => Float32Array<ArrayBuffer>;

/** w = (q − (z + bias)) · s. */
export function gptqReference(
  parts: StoredParts,
  bits: number,
  groupSize: number,
  zeroBias: number,
): Elements {
  const perWord = 32 / bits;
  return (rows, columns) =>
    elements(rows, columns, (row, column) => {
      const gIdx = parts['.g_idx'];
      const group = gIdx ? unsigned(gIdx, 32 * column, 32) : Math.floor(column / groupSize);
      const word = Math.floor(column / perWord) * rows + row;
      const code = unsigned(part(parts, '.qweight'), 32 * word + bits * (column % perWord), bits);
      const zeroWord = group * (rows / perWord) + Math.floor(row / perWord);
      const zero = unsigned(part(parts, '.qzeros'), 32 * zeroWord + bits * (row % perWord), bits) + zeroBias;
      return float(part(parts, '.scales'), group * rows + row) * (code - zero);
    });
}

/** w = (q − z) · s; nibble i of a word is column [0, 2, 4, 6, 1, 3, 5, 7][i]. */
export function awqReference(parts: StoredParts, groupSize: number): Elements {
  return (rows, columns) =>
    elements(rows, columns, (row, column) => {
      const group = Math.floor(column / groupSize);
      const shift = 4 * [0, 2, 4, 6, 1, 3, 5, 7].indexOf(row % 8);
      const words = rows / 8;
      const code = unsigned(part(parts, '.qweight'), 32 * (column * words + Math.floor(row / 8)) + shift, 4);
      const zero = unsigned(part(parts, '.qzeros'), 32 * (group * words + Math.floor(row / 8)) + shift, 4);
      return float(part(parts, '.scales'), group * rows + row) * (code - zero);
    });
}

/** w = s · q + b; a row is one stream of bits. */
export function mlxReference(parts: StoredParts, bits: number, groupSize: number): Elements {
  return (rows, columns) =>
    elements(rows, columns, (row, column) => {
      const group = (row * columns + column - (column % groupSize)) / groupSize;
      const code = unsigned(part(parts, '.weight'), (row * columns + column) * bits, bits);
      const product = Math.fround(float(part(parts, '.scales'), group) * code);
      return product + float(part(parts, '.biases'), group);
    });
}

/** w = (q − z) · s for signed q and z, stored with 2^(bits−1) added; zero points are packed along the rows. */
export function compressedTensorsReference(parts: StoredParts, bits: number, groupSize: number): Elements {
  const half = 2 ** (bits - 1);
  const perWord = 32 / bits;
  return (rows, columns) =>
    elements(rows, columns, (row, column) => {
      const groups = columns / groupSize;
      const group = Math.floor(column / groupSize);
      const code = unsigned(part(parts, '.weight_packed'), (row * columns + column) * bits, bits) - half;
      const zeros = parts['.weight_zero_point'];
      const zeroWord = Math.floor(row / perWord) * groups + group;
      const zero = zeros ? unsigned(zeros, 32 * zeroWord + bits * (row % perWord), bits) - half : 0;
      return float(part(parts, '.weight_scale'), row * groups + group) * (code - zero);
    });
}

/** w = q · s, a scale per block of rows and columns. */
export function fp8Reference(parts: StoredParts, block: readonly [number, number]): Elements {
  return (rows, columns) =>
    elements(rows, columns, (row, column) => {
      const blocks = Math.ceil(columns / block[1]);
      const scale = float(
        part(parts, '.weight_scale_inv'),
        Math.floor(row / block[0]) * blocks + Math.floor(column / block[1]),
      );
      return scale * e4m3(part(parts, '.weight').bytes[row * columns + column] ?? NaN);
    });
}

/** 1 sign, 4 exponent (bias 7) and 3 fraction bits; all ones are NaN, and there is no infinity. */
export function e4m3(bits: number): number {
  const sign = bits >= 128 ? -1 : 1;
  const exponent = Math.floor((bits % 128) / 8);
  const fraction = bits % 8;
  if (exponent === 15 && fraction === 7) return NaN;
  return exponent === 0 ? sign * fraction * 2 ** -9 : sign * (8 + fraction) * 2 ** (exponent - 10);
}

function elements(
  rows: number,
  columns: number,
  value: (row: number, column: number) => number,
): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: rows * columns }, (_, i) => value(Math.floor(i / columns), i % columns));
}

function part(parts: StoredParts, suffix: string): RawTensor {
  const found = parts[suffix];
  if (!found) throw new RangeError(`There is no ${suffix}.`);
  return found;
}

/** `count` bits from bit `start` on, least significant first, bit 0 being the lowest of byte 0. */
function unsigned({ bytes }: RawTensor, start: number, count: number): number {
  let value = 0;
  for (let i = 0; i < count; i++) {
    const byte = bytes[Math.floor((start + i) / 8)];
    if (byte === undefined) throw new RangeError(`Bit ${start + i} is outside of ${bytes.length} bytes.`);
    value += ((byte >> ((start + i) % 8)) & 1) * 2 ** i;
  }
  return value;
}

function float({ dtype, bytes }: RawTensor, index: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (dtype === 'F32') return view.getFloat32(4 * index, true);
  const bits = view.getUint16(2 * index, true);
  return dtype === 'F16' ? halfToNumber(bits) : bfloat16ToNumber(bits);
}
