import { SkeinError } from '../../protocol/errors.ts';
import type { Tensor } from '../checkpoint.ts';
import { e4m3ToFloat } from '../quantized.ts';
import { denseMatrix, FLOAT_SCALES, floatsOf, layoutBytes, symmetricMatrix } from './affine.ts';
import { requiredPart } from './stored-format.ts';
import type { MatrixShape, StoredFormat, StoredMatrix } from './stored-format.ts';
import { asWords } from './words.ts';

/** Groups that the layout allows are multiples of this. */
const GROUP_STEP = 8;

/**
 * FP8 in blocks: `weight` e4m3 [out, in] and `weight_scale_inv` [out / block, in / block], both rounded up. value = scale · code; every row
 * gets its own copy of the scales. A group is as long as rows and blocks divide by: half a block where the last one is half.
 * A code that is no number is refused: kernels do not look for them and would go on with ±480.
 * @param block [rows, columns] that share a scale.
 */
export function fp8Format(block: MatrixShape): StoredFormat {
  const groupSizeOf = ([, columns]: MatrixShape) => greatestCommonDivisor(columns, block[1]);
  const isDense = (shape: MatrixShape) => groupSizeOf(shape) % GROUP_STEP !== 0;
  return {
    label: 'FP8',
    marker: '.weight_scale_inv',
    codes: '.weight',
    scales: '.weight_scale_inv',
    shapeOf: ([rows, columns]) => (rows === undefined || columns === undefined ? null : [rows, columns]),
    refusal: () => null,
    parts: ([rows, columns]) => [
      { suffix: '.weight', dtypes: ['F8_E4M3'], shape: [rows, columns] },
      {
        suffix: '.weight_scale_inv',
        dtypes: FLOAT_SCALES,
        shape: [Math.ceil(rows / block[0]), Math.ceil(columns / block[1])],
      },
    ],
    loadedBytes: (shape) =>
      isDense(shape)
        ? shape[0] * shape[1] * Float32Array.BYTES_PER_ELEMENT
        : layoutBytes(shape, 'e4m3', groupSizeOf(shape), 'f32'),
    repack: (stored) => repack(stored, block, isDense(stored.shape) ? 1 : groupSizeOf(stored.shape)),
  };
}

/**
 * @param groupSize 1: no group is a multiple of 8, so floats must do.
 * @throws SkeinError `model-corrupt`, naming file, tensor and element, for a code that is no number.
 */
function repack(stored: StoredMatrix, block: MatrixShape, groupSize: number): Tensor {
  const { name, shape } = stored;
  const [rows, columns] = shape;
  const codes = requiredPart(stored, '.weight').bytes;
  refuseNan(stored, codes);
  const blockScales = floatsOf(requiredPart(stored, '.weight_scale_inv'));
  const blocksPerRow = Math.ceil(columns / block[1]);
  const groups = columns / groupSize;
  const scales = new Float32Array(rows * groups);
  for (let row = 0; row < rows; row++) {
    const firstBlock = Math.floor(row / block[0]) * blocksPerRow;
    for (let group = 0; group < groups; group++) {
      scales[row * groups + group] =
        blockScales[firstBlock + Math.floor((group * groupSize) / block[1])] ?? 0;
    }
  }
  if (groupSize === 1)
    return denseMatrix(
      name,
      shape,
      scales.map((scale, index) => scale * e4m3ToFloat(codes[index] ?? 0)),
    );
  return symmetricMatrix({
    name,
    shape,
    codes,
    kind: 'e4m3',
    groupSize,
    scales,
    zero: 0,
    scalesDtype: 'F32',
  });
}

function refuseNan({ name, file, shape }: StoredMatrix, codes: Uint8Array<ArrayBuffer>): void {
  const index = findNan(codes);
  if (index < 0) return;
  const element = `[${Math.floor(index / shape[1])}, ${index % shape[1]}]`;
  throw new SkeinError(
    'model-corrupt',
    `${file}: tensor "${name}" has NaN (FP8 code 0x${(codes[index] ?? 0).toString(16)}) at ${element}. Download the model again, or choose another version of it.`,
    { data: { file, tensor: name, element } },
  );
}

/** @returns the index of the first code 0x7f or 0xff, or -1. */
function findNan(codes: Uint8Array<ArrayBuffer>): number {
  const isNan = (code: number) => (code & 0x7f) === 0x7f;
  const words = asWords(codes);
  let word = 0;
  // Four at a time: adding 1 to the lower seven bits of a byte sets the eighth if and only if all of them were set.
  while (word < words.length && ((((words[word] ?? 0) & 0x7f7f_7f7f) + 0x0101_0101) & 0x8080_8080) === 0) {
    word += 1;
  }
  const first = word * Uint32Array.BYTES_PER_ELEMENT;
  const within = codes.subarray(first).findIndex(isNan);
  return within < 0 ? -1 : first + within;
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
