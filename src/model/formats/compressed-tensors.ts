import type { QuantizedMatrix } from '../quantized.ts';
import {
  FLOAT_SCALES,
  floatsOf,
  HALF_SCALES,
  layoutBytes,
  scaleKind,
  symmetricMatrix,
  zeroPointMatrix,
} from './affine.ts';
import { requiredPart } from './stored-format.ts';
import type { MatrixShape, PartSpec, StoredFormat, StoredMatrix } from './stored-format.ts';
import { asWords, bytesOf, interleaveNibbles, unpackWords } from './words.ts';

export interface CompressedTensorsOptions {
  readonly bits: 4 | 8;
  /** −1: one group per row (`strategy: channel`). */
  readonly groupSize: number;
  readonly isSymmetric: boolean;
}

/**
 * compressed-tensors, `pack-quantized`: `weight_packed` i32 [out, in / n] holds n inputs per word, least significant first, as unsigned
 * numbers with half their range added; `weight_scale` [out, groups]; without symmetry `weight_zero_point` i32 [out / n, groups], packed
 * along the outputs. value = scale · (code − zero).
 */
export function compressedTensorsFormat(options: CompressedTensorsOptions): StoredFormat {
  const { bits, isSymmetric } = options;
  const perWord = 32 / bits;
  const groupSizeOf = ([, columns]: MatrixShape) => (options.groupSize === -1 ? columns : options.groupSize);
  return {
    label: `compressed-tensors W${bits}A16`,
    marker: '.weight_packed',
    codes: '.weight_packed',
    scales: '.weight_scale',
    shapeOf: ([rows, words]) => (rows === undefined || words === undefined ? null : [rows, words * perWord]),
    refusal: (shape) => {
      const groupSize = groupSizeOf(shape);
      return shape[1] % groupSize === 0 && groupSize % 8 === 0
        ? null
        : `${shape[1]} columns are not made of whole groups of ${groupSize}, or these not of 8`;
    },
    parts: (shape) => {
      const [rows, columns] = shape;
      const groups = columns / groupSizeOf(shape);
      const zeros: PartSpec = {
        suffix: '.weight_zero_point',
        dtypes: ['I32'],
        shape: [Math.ceil(rows / perWord), groups],
      };
      return [
        { suffix: '.weight_packed', dtypes: ['I32'], shape: [rows, columns / perWord] },
        { suffix: '.weight_scale', dtypes: isSymmetric ? FLOAT_SCALES : HALF_SCALES, shape: [rows, groups] },
        ...(isSymmetric ? [] : [zeros]),
      ];
    },
    loadedBytes: (shape, scalesDtype) =>
      layoutBytes(
        shape,
        bits === 4 ? 'u4' : 'u8',
        groupSizeOf(shape),
        isSymmetric ? scaleKind(scalesDtype) : 'f32-pair',
      ),
    repack: (stored) => repack(stored, options, groupSizeOf(stored.shape)),
  };
}

function repack(
  stored: StoredMatrix,
  { bits, isSymmetric }: CompressedTensorsOptions,
  groupSize: number,
): QuantizedMatrix {
  const { name, shape } = stored;
  const [rows, columns] = shape;
  const groups = columns / groupSize;
  const words = asWords(requiredPart(stored, '.weight_packed').bytes);
  const scalePart = requiredPart(stored, '.weight_scale');
  const matrix = {
    name,
    shape,
    codes: bytesOf(bits === 4 ? words.map(interleaveNibbles) : words),
    kind: bits === 4 ? 'u4' : 'u8',
    groupSize,
    scales: floatsOf(scalePart),
    scalesDtype: scalePart.dtype,
  } as const;
  if (isSymmetric) return symmetricMatrix({ ...matrix, zero: 2 ** (bits - 1) });
  const zeroWords = asWords(requiredPart(stored, '.weight_zero_point').bytes);
  return zeroPointMatrix({ ...matrix, zeros: unpackZeros(zeroWords, bits, rows, groups), isSymmetric });
}

/** @param words [rows / n rounded up, groups]. @returns [rows, groups]. */
function unpackZeros(
  words: Uint32Array,
  bits: number,
  rows: number,
  groups: number,
): Float32Array<ArrayBuffer> {
  const perWord = 32 / bits;
  const codes = unpackWords(words, bits);
  return Float32Array.from({ length: rows * groups }, (_, index) => {
    const row = Math.floor(index / groups);
    const word = Math.floor(row / perWord) * groups + (index % groups);
    return codes[word * perWord + (row % perWord)] ?? 0;
  });
}
