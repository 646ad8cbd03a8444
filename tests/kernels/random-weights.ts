import type { TensorFormat } from '../../src/model/checkpoint.ts';
import {
  codeAt,
  codeBytes,
  dequantize,
  packNibbles,
  SCALE_BYTES,
  scaleBytes,
} from '../../src/model/quantized.ts';
import type { QuantizedFormat, QuantizedMatrix } from '../../src/model/quantized.ts';
import type { MatrixFormat } from '../../src/engine/weight-format.ts';
import { randomNormal } from '../fixtures/random-model.ts';
import { decodeElements, encodeElements, numberToHalf } from '../reference/number-formats.ts';

const FLOATS: readonly TensorFormat[] = ['f32', 'f16', 'bf16'];
/** What real checkpoints have: symmetric and affine 4-bit, both kinds of 8-bit, FP8; groups of many sizes. */
const QUANTIZED: readonly QuantizedFormat[] = [
  { codes: 'u4', zero: 8, groupSize: 32, scales: 'f16' },
  { codes: 'u4', zero: 0, groupSize: 64, scales: 'f32-pair' },
  { codes: 'u8', zero: 128, groupSize: 16, scales: 'f32' },
  { codes: 'u8', zero: 0, groupSize: 32, scales: 'f32-pair' },
  { codes: 'e4m3', zero: 0, groupSize: 128, scales: 'f32' },
];

/** Every text of weights.wgsl and every kind of scale, by name. */
export const MATRIX_FORMATS: readonly (readonly [string, MatrixFormat])[] = [
  ...FLOATS.map((format) => [format, format] as const),
  ...QUANTIZED.map((format) => [`${format.codes} − ${format.zero}, ${format.scales}`, format] as const),
];

/** A matrix [rows, columns] as it is uploaded, and what it stands for. */
export interface RandomWeights {
  /** With groups that divide the row. */
  readonly format: MatrixFormat;
  readonly weights: Uint8Array;
  readonly scales: Uint8Array | null;
  readonly values: Float64Array;
  /** Of what is added up for each value: of code · scale, zero · scale and offset apart. */
  readonly magnitudes: Float64Array;
}

/** Values of standard deviation about 1 / √columns. */
export function randomWeights(
  wanted: MatrixFormat,
  [rows, columns]: readonly [rows: number, columns: number],
): RandomWeights {
  const normal = randomNormal(rows * 17 + columns);
  const deviation = 1 / Math.sqrt(columns);
  if (typeof wanted === 'string') {
    const weights = encodeElements(
      wanted,
      Float64Array.from({ length: rows * columns }, () => deviation * normal()),
    );
    const values = decodeElements(wanted, weights);
    return { format: wanted, weights, scales: null, values, magnitudes: values.map(Math.abs) };
  }
  const format = { ...wanted, groupSize: groupSizeFor(columns, wanted.groupSize) };
  const matrix = randomMatrix(format, rows, columns, deviation);
  const values = Float64Array.from(dequantize(matrix));
  return {
    format,
    weights: matrix.codes,
    scales: matrix.scales,
    values,
    magnitudes: values.map((value, index) => {
      if (format.codes === 'e4m3') return Math.abs(value);
      const [scale, offset] = scaleAt(matrix, Math.floor(index / format.groupSize));
      return Math.abs(scale) * (codeAt(matrix, index) + format.zero) + Math.abs(offset);
    }),
  };
}

/** All codes but the NaNs of E4M3, and scales of both signs. */
function randomMatrix(
  format: QuantizedFormat,
  rows: number,
  columns: number,
  deviation: number,
): QuantizedMatrix {
  const normal = randomNormal(rows + 3 * columns);
  const uniform = (count: number) => Math.floor((Math.abs(normal()) * 1009) % count);
  const elements = rows * columns;
  const raw = Uint8Array.from({ length: elements }, () => {
    if (format.codes === 'u4') return uniform(16);
    // Small E4M3 numbers, among them the subnormal ones: their largest would drown all else.
    return format.codes === 'u8' ? uniform(256) : uniform(0x48) | (0x80 * uniform(2));
  });
  const spread = { u4: 5, u8: 80, e4m3: 0.5 }[format.codes];
  const scales = new Uint8Array(scaleBytes(format, elements));
  const view = new DataView(scales.buffer);
  for (let at = 0; at < scales.length; at += SCALE_BYTES[format.scales]) {
    const scale = ((0.5 + Math.abs(normal()) / 2) * (uniform(2) === 0 ? 1 : -1) * deviation) / spread;
    if (format.scales === 'f16') view.setUint16(at, numberToHalf(scale), true);
    else view.setFloat32(at, scale, true);
    if (format.scales === 'f32-pair') {
      view.setFloat32(at + 4, -scale * ({ u4: 8, u8: 128, e4m3: 0 }[format.codes] + normal()), true);
    }
  }
  const codes = format.codes === 'u4' ? packNibbles(raw) : raw;
  if (codes.length !== codeBytes(format, elements))
    throw new Error('Codes of another size than the layout has.');
  return { kind: 'quantized', name: 'random', format, shape: [rows, columns], codes, scales };
}

/** The largest group of whole octets, up to the wanted one, that divides the row. */
function groupSizeFor(columns: number, wanted: number): number {
  let groupSize = Math.min(wanted, columns);
  while (columns % groupSize !== 0 || groupSize % 8 !== 0) groupSize -= 1;
  return groupSize;
}

function scaleAt({ format, scales }: QuantizedMatrix, group: number): [scale: number, offset: number] {
  const view = new DataView(scales.buffer, scales.byteOffset, scales.byteLength);
  switch (format.scales) {
    case 'f16':
      return [decodeElements('f16', scales.subarray(2 * group, 2 * group + 2))[0] ?? NaN, 0];
    case 'f32':
      return [view.getFloat32(4 * group, true), 0];
    case 'f32-pair':
      return [view.getFloat32(8 * group, true), view.getFloat32(8 * group + 4, true)];
  }
}
