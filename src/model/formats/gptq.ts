import { SkeinError } from '../../protocol/errors.ts';
import type { Tensor } from '../checkpoint.ts';
import {
  denseMatrix,
  floatsOf,
  HALF_SCALES,
  layoutBytes,
  scaleKind,
  transposeFloats,
  zeroPointMatrix,
} from './affine.ts';
import { requiredPart } from './stored-format.ts';
import type { MatrixShape, StoredFormat, StoredMatrix } from './stored-format.ts';
import { asWords, bytesOf, interleaveNibbles, transposeWords, unpackWords } from './words.ts';

export interface GptqOptions {
  readonly bits: 4 | 8;
  /** −1: one group per row. */
  readonly groupSize: number;
  readonly isSymmetric: boolean;
  /** Inputs are assigned to groups out of order (`desc_act`). */
  readonly isActOrder: boolean;
  /** What the first version of the format takes away from every zero point when it writes. */
  readonly zeroBias: 0 | 1;
}

/**
 * GPTQ: `qweight` i32 [in / n, out] holds n inputs of one output per word, least significant first, as `qzeros` i32
 * [groups, out / n] does outputs; `scales` [groups, out]; `g_idx` i32 [in] names each input's group.
 * value = scale · (code − (zero + bias)). Inputs out of order have no groups of neighbours, so such matrices become floats.
 */
export function gptqFormat(options: GptqOptions): StoredFormat {
  const { bits, isActOrder, isSymmetric } = options;
  const perWord = 32 / bits;
  const codes = bits === 4 ? 'u4' : 'u8';
  const groupSizeOf = ([, columns]: MatrixShape) => (options.groupSize === -1 ? columns : options.groupSize);
  return {
    label: `GPTQ ${bits}-bit`,
    marker: '.qweight',
    codes: '.qweight',
    scales: '.scales',
    shapeOf: ([words, rows]) => (words === undefined || rows === undefined ? null : [rows, words * perWord]),
    refusal: (shape) => {
      const [rows, columns] = shape;
      if (rows % perWord !== 0)
        return `${rows} rows are not a multiple of the ${perWord} in a word of zero points`;
      const groupSize = groupSizeOf(shape);
      return columns % groupSize === 0 && groupSize % 8 === 0
        ? null
        : `${columns} columns are not made of whole groups of ${groupSize}, or these not of 8`;
    },
    parts: (shape) => {
      const [rows, columns] = shape;
      const groups = columns / groupSizeOf(shape);
      return [
        { suffix: '.qweight', dtypes: ['I32'], shape: [columns / perWord, rows] },
        { suffix: '.qzeros', dtypes: ['I32'], shape: [groups, rows / perWord] },
        { suffix: '.scales', dtypes: HALF_SCALES, shape: [groups, rows] },
        { suffix: '.g_idx', dtypes: ['I32'], shape: [columns], isOptional: true },
      ];
    },
    loadedBytes: (shape, scalesDtype) =>
      isActOrder
        ? shape[0] * shape[1] * Float32Array.BYTES_PER_ELEMENT
        : layoutBytes(shape, codes, groupSizeOf(shape), isSymmetric ? scaleKind(scalesDtype) : 'f32-pair'),
    repack: (stored) => repack(stored, options, groupSizeOf(stored.shape)),
  };
}

function repack(stored: StoredMatrix, options: GptqOptions, groupSize: number): Tensor {
  const { name, shape, parts } = stored;
  const [rows, columns] = shape;
  const { bits, zeroBias, isSymmetric } = options;
  const groups = columns / groupSize;
  const scalePart = requiredPart(stored, '.scales');
  const scales = transposeFloats(floatsOf(scalePart), [groups, rows]);
  const zeroCodes = unpackWords(asWords(requiredPart(stored, '.qzeros').bytes), bits);
  const zeros = transposeFloats(
    Float32Array.from(zeroCodes, (zero) => zero + zeroBias),
    [groups, rows],
  );
  const words = asWords(requiredPart(stored, '.qweight').bytes);
  const groupPart = parts.get('.g_idx');
  const groupOf = groupPart ? asWords(groupPart.bytes) : null;
  if (groupOf?.some((group, column) => group !== Math.floor(column / groupSize)) === true) {
    if (groupOf.some((group) => group >= groups)) {
      throw new SkeinError(
        'model-corrupt',
        `${stored.file}: "g_idx" of "${name}" names a group that is not among its ${groups}. Download the file again.`,
        { data: { file: stored.file, tensor: name } },
      );
    }
    const codes = unpackWords(transposeWords(words, [(columns * bits) / 32, rows], identity), bits);
    return denseMatrix(name, shape, dequantizeOutOfOrder(codes, columns, groupOf, scales, zeros, groups));
  }
  const map = bits === 4 ? interleaveNibbles : identity;
  return zeroPointMatrix({
    name,
    shape,
    codes: bytesOf(transposeWords(words, [(columns * bits) / 32, rows], map)),
    kind: bits === 4 ? 'u4' : 'u8',
    groupSize,
    scales,
    zeros,
    scalesDtype: scalePart.dtype,
    isSymmetric,
  });
}

/** @param codes [rows, columns]. @param scales, zeros [rows, groups]. */
function dequantizeOutOfOrder(
  codes: Uint8Array,
  columns: number,
  groupOf: Uint32Array,
  scales: Float32Array,
  zeros: Float32Array,
  groups: number,
): Float32Array<ArrayBuffer> {
  const values = new Float32Array(codes.length);
  for (let index = 0; index < codes.length; index++) {
    const column = index % columns;
    const group = ((index - column) / columns) * groups + (groupOf[column] ?? 0);
    values[index] = (scales[group] ?? 0) * ((codes[index] ?? 0) - (zeros[group] ?? 0));
  }
  return values;
}

function identity(word: number): number {
  return word;
}
