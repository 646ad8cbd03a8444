import type { QuantizedMatrix } from '../quantized.ts';
import { affineMatrix, FLOAT_SCALES, floatsOf, layoutBytes } from './affine.ts';
import { requiredPart } from './stored-format.ts';
import type { StoredFormat, StoredMatrix } from './stored-format.ts';
import { asWords, bytesOf, interleaveNibbles } from './words.ts';

export interface MlxOptions {
  readonly bits: 4 | 8;
  readonly groupSize: number;
}

/**
 * MLX, affine: `weight` u32 [out, in / n] holds n inputs per word, least significant first; `scales` and `biases` [out, groups].
 * value = scale · code + bias. Embeddings are quantised like projections.
 * @param optionsOf of a module, by name: a checkpoint may mix widths.
 */
export function mlxFormat(label: string, optionsOf: (stem: string) => MlxOptions): StoredFormat {
  const perWord = (stem: string) => 32 / optionsOf(stem).bits;
  return {
    label,
    marker: '.scales',
    codes: '.weight',
    scales: '.scales',
    shapeOf: ([rows, words], stem) =>
      rows === undefined || words === undefined ? null : [rows, words * perWord(stem)],
    refusal: ([, columns], stem) => {
      const { groupSize } = optionsOf(stem);
      return columns % groupSize === 0
        ? null
        : `${columns} columns are not made of whole groups of ${groupSize}`;
    },
    parts: ([rows, columns], stem) => {
      const groups = columns / optionsOf(stem).groupSize;
      return [
        { suffix: '.weight', dtypes: ['U32'], shape: [rows, columns / perWord(stem)] },
        { suffix: '.scales', dtypes: FLOAT_SCALES, shape: [rows, groups] },
        { suffix: '.biases', dtypes: FLOAT_SCALES, shape: [rows, groups] },
      ];
    },
    loadedBytes: (shape, _, stem) => {
      const { bits, groupSize } = optionsOf(stem);
      return layoutBytes(shape, bits === 4 ? 'u4' : 'u8', groupSize, 'f32-pair');
    },
    repack: (stored, stem) => repack(stored, optionsOf(stem)),
  };
}

function repack(stored: StoredMatrix, { bits, groupSize }: MlxOptions): QuantizedMatrix {
  const { name, shape } = stored;
  const words = asWords(requiredPart(stored, '.weight').bytes);
  return affineMatrix({
    name,
    shape,
    codes: bytesOf(bits === 4 ? words.map(interleaveNibbles) : words),
    kind: bits === 4 ? 'u4' : 'u8',
    groupSize,
    scales: floatsOf(requiredPart(stored, '.scales')),
    offsets: floatsOf(requiredPart(stored, '.biases')),
  });
}
