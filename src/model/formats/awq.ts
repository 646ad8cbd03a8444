import { packNibbles } from '../quantized.ts';
import type { QuantizedMatrix } from '../quantized.ts';
import { floatsOf, HALF_SCALES, layoutBytes, transposeFloats, zeroPointMatrix } from './affine.ts';
import { requiredPart } from './stored-format.ts';
import type { MatrixShape, StoredFormat, StoredMatrix } from './stored-format.ts';
import { asWords } from './words.ts';

/** Nibble i of a word, least significant first, is this one of its 8 columns. */
const COLUMN_OF_NIBBLE = [0, 2, 4, 6, 1, 3, 5, 7] as const;
const PER_WORD = 8;

/**
 * AWQ in its GEMM version, 4 bits: `qweight` i32 [in, out / 8] and `qzeros` i32 [groups, out / 8] hold 8 outputs per word in an order
 * of their own; `scales` [groups, out]. value = scale · (code − zero).
 * @param groupSize −1: one group per row.
 */
export function awqFormat(groupSize: number): StoredFormat {
  const groupSizeOf = ([, columns]: MatrixShape) => (groupSize === -1 ? columns : groupSize);
  return {
    label: 'AWQ 4-bit',
    marker: '.qweight',
    codes: '.qweight',
    scales: '.scales',
    shapeOf: ([columns, words]) =>
      columns === undefined || words === undefined ? null : [words * PER_WORD, columns],
    refusal: (shape) => {
      const [rows, columns] = shape;
      if (rows % PER_WORD !== 0) return `${rows} rows are not a multiple of the ${PER_WORD} in a word`;
      const size = groupSizeOf(shape);
      return columns % size === 0 && size % 8 === 0
        ? null
        : `${columns} columns are not made of whole groups of ${size}, or these not of 8`;
    },
    parts: (shape) => {
      const [rows, columns] = shape;
      const groups = columns / groupSizeOf(shape);
      return [
        { suffix: '.qweight', dtypes: ['I32'], shape: [columns, rows / PER_WORD] },
        { suffix: '.qzeros', dtypes: ['I32'], shape: [groups, rows / PER_WORD] },
        { suffix: '.scales', dtypes: HALF_SCALES, shape: [groups, rows] },
      ];
    },
    loadedBytes: (shape) => layoutBytes(shape, 'u4', groupSizeOf(shape), 'f32-pair'),
    repack: (stored) => repack(stored, groupSizeOf(stored.shape)),
  };
}

function repack(stored: StoredMatrix, groupSize: number): QuantizedMatrix {
  const { name, shape } = stored;
  const [rows, columns] = shape;
  const groups = columns / groupSize;
  const scalePart = requiredPart(stored, '.scales');
  const zeroCodes = unpackTransposed(asWords(requiredPart(stored, '.qzeros').bytes), groups, rows);
  return zeroPointMatrix({
    name,
    shape,
    codes: packNibbles(unpackTransposed(asWords(requiredPart(stored, '.qweight').bytes), columns, rows)),
    kind: 'u4',
    groupSize,
    scales: transposeFloats(floatsOf(scalePart), [groups, rows]),
    zeros: Float32Array.from(zeroCodes),
    scalesDtype: scalePart.dtype,
    isSymmetric: false,
  });
}

/** @param words [inputs, outputs / 8]. @returns one code per byte, [outputs, inputs]. */
function unpackTransposed(words: Uint32Array, inputs: number, outputs: number): Uint8Array<ArrayBuffer> {
  const codes = new Uint8Array(inputs * outputs);
  const wordsPerInput = outputs / PER_WORD;
  for (let firstOutput = 0; firstOutput < outputs; firstOutput += PER_WORD) {
    for (let input = 0; input < inputs; input++) {
      const word = words[input * wordsPerInput + firstOutput / PER_WORD] ?? 0;
      COLUMN_OF_NIBBLE.forEach((column, nibble) => {
        codes[(firstOutput + column) * inputs + input] = (word >>> (4 * nibble)) & 0x0f;
      });
    }
  }
  return codes;
}
