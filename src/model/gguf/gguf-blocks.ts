import { halfToFloat, halvesFromFloats } from '../../protocol/half.ts';
import { bytesOf } from '../formats/words.ts';
import { packNibbles } from '../quantized.ts';
import type { QuantizedFormat, QuantizedMatrix } from '../quantized.ts';
import { GGUF_TYPES } from './gguf-types.ts';

/** What a block is unpacked into: one code per byte, and the scales (or pairs) of its groups. */
interface Target {
  readonly codes: Uint8Array;
  /** Index of the block's first code. */
  readonly first: number;
  readonly scales: Float32Array;
  /** Index of the block's first scale. */
  readonly firstScale: number;
}

interface BlockLayout {
  readonly format: QuantizedFormat;
  /** @param block the bytes of one block. */
  readonly unpack: (block: DataView, target: Target) => void;
}

/** Source of the layouts: the block structures of ggml, `ggml-common.h`, and what `dequantize_row_*` makes of them. */
const LAYOUTS: Readonly<Record<string, BlockLayout>> = {
  /** f16 d, 16 bytes of nibbles: (q − 8) · d. Byte j holds element j low and j + 16 high. */
  Q4_0: {
    format: { codes: 'u4', zero: 8, groupSize: 32, scales: 'f16' },
    unpack: (block, { codes, first, scales, firstScale }) => {
      scales[firstScale] = half(block, 0);
      unpackHalves(block, 2, codes, first);
    },
  },
  /** f16 d, f16 m, nibbles: q · d + m. */
  Q4_1: {
    format: { codes: 'u4', zero: 0, groupSize: 32, scales: 'f32-pair' },
    unpack: (block, { codes, first, scales, firstScale }) => {
      scales[firstScale] = half(block, 0);
      scales[firstScale + 1] = half(block, 2);
      unpackHalves(block, 4, codes, first);
    },
  },
  /** f16 d, 32 fifth bits, nibbles: (q − 16) · d. */
  Q5_0: {
    format: { codes: 'u8', zero: 16, groupSize: 32, scales: 'f16' },
    unpack: (block, { codes, first, scales, firstScale }) => {
      scales[firstScale] = half(block, 0);
      unpackHalves(block, 6, codes, first);
      addFifthBits(block.getUint32(2, true), codes, first);
    },
  },
  /** f16 d, f16 m, 32 fifth bits, nibbles: q · d + m. */
  Q5_1: {
    format: { codes: 'u8', zero: 0, groupSize: 32, scales: 'f32-pair' },
    unpack: (block, { codes, first, scales, firstScale }) => {
      scales[firstScale] = half(block, 0);
      scales[firstScale + 1] = half(block, 2);
      unpackHalves(block, 8, codes, first);
      addFifthBits(block.getUint32(4, true), codes, first);
    },
  },
  /** f16 d, 32 signed bytes: q · d. */
  Q8_0: {
    format: { codes: 'u8', zero: 128, groupSize: 32, scales: 'f16' },
    unpack: (block, { codes, first, scales, firstScale }) => {
      scales[firstScale] = half(block, 0);
      for (let j = 0; j < 32; j++) codes[first + j] = block.getUint8(2 + j) ^ 0x80;
    },
  },
  /** f16 d, f16 dmin, 8 scales and minima of 6 bits, 128 bytes of nibbles: d · sc · q − dmin · m, in groups of 32. */
  Q4_K: {
    format: { codes: 'u4', zero: 0, groupSize: 32, scales: 'f32-pair' },
    unpack: (block, { codes, first, scales, firstScale }) => {
      sixBitScales(block, scales, firstScale);
      unpackSuperBlock(block, 16, codes, first);
    },
  },
  /** Like Q4_K, with 32 bytes of fifth bits before the nibbles: bit g of byte l belongs to element l of group g. */
  Q5_K: {
    format: { codes: 'u8', zero: 0, groupSize: 32, scales: 'f32-pair' },
    unpack: (block, { codes, first, scales, firstScale }) => {
      sixBitScales(block, scales, firstScale);
      unpackSuperBlock(block, 48, codes, first);
      for (let element = 0; element < 256; element++) {
        const bit = (block.getUint8(16 + (element % 32)) >> (element >> 5)) & 1;
        codes[first + element] = (codes[first + element] ?? 0) + 16 * bit;
      }
    },
  },
  /** 128 bytes of low nibbles, 64 of upper bit pairs, 16 signed scales, f16 d: d · sc · (q − 32), in groups of 16. */
  Q6_K: {
    format: { codes: 'u8', zero: 32, groupSize: 16, scales: 'f32' },
    unpack: (block, { codes, first, scales, firstScale }) => {
      const d = half(block, 208);
      for (let group = 0; group < 16; group++) scales[firstScale + group] = d * block.getInt8(192 + group);
      for (let element = 0; element < 256; element++) {
        const upperHalf = element >> 7;
        const quarter = (element >> 5) & 3;
        const column = element & 31;
        const low = block.getUint8(upperHalf * 64 + (quarter & 1) * 32 + column);
        const high = block.getUint8(128 + upperHalf * 32 + column);
        const nibble = quarter < 2 ? low & 0x0f : low >> 4;
        codes[first + element] = nibble | (((high >> (2 * quarter)) & 3) << 4);
      }
    },
  },
};

/** The layout a type is repacked into; undefined for floats. */
export function ggufLayout(typeName: string): QuantizedFormat | undefined {
  return LAYOUTS[typeName]?.format;
}

/**
 * @param typeName one with a layout.
 * @param bytes the blocks of whole rows, row after row.
 */
export function repackBlocks(
  name: string,
  typeName: string,
  shape: readonly [rows: number, columns: number],
  bytes: Uint8Array<ArrayBuffer>,
): QuantizedMatrix {
  const layout = LAYOUTS[typeName];
  const type = [...GGUF_TYPES.values()].find((candidate) => candidate.name === typeName);
  if (!layout || !type) throw new RangeError(`${typeName} has no layout.`);
  const { format, unpack } = layout;
  const { blockBytes, blockElements } = type;
  const elements = shape[0] * shape[1];
  const scalesPerBlock = (blockElements / format.groupSize) * (format.scales === 'f32-pair' ? 2 : 1);
  const blocks = elements / blockElements;
  const codes = new Uint8Array(elements);
  const scales = new Float32Array(blocks * scalesPerBlock);
  for (let block = 0; block < blocks; block++) {
    const view = new DataView(bytes.buffer, bytes.byteOffset + block * blockBytes, blockBytes);
    unpack(view, { codes, first: block * blockElements, scales, firstScale: block * scalesPerBlock });
  }
  return {
    kind: 'quantized',
    name,
    shape,
    format,
    codes: format.codes === 'u4' ? packNibbles(codes) : codes,
    scales: format.scales === 'f16' ? halvesOf(scales) : bytesOf(scales),
  };
}

function half(block: DataView, at: number): number {
  return halfToFloat(block.getUint16(at, true));
}

/** 16 bytes: element j in the low and j + 16 in the high nibble of byte j. */
function unpackHalves(block: DataView, at: number, codes: Uint8Array, first: number): void {
  for (let j = 0; j < 16; j++) {
    const byte = block.getUint8(at + j);
    codes[first + j] = byte & 0x0f;
    codes[first + j + 16] = byte >> 4;
  }
}

function addFifthBits(bits: number, codes: Uint8Array, first: number): void {
  for (let j = 0; j < 32; j++) codes[first + j] = (codes[first + j] ?? 0) | (((bits >>> j) & 1) << 4);
}

/** 128 bytes in four runs of 32: a run's low nibbles are one group of 32 and its high nibbles the next. */
function unpackSuperBlock(block: DataView, at: number, codes: Uint8Array, first: number): void {
  for (let byte = 0; byte < 128; byte++) {
    const value = block.getUint8(at + byte);
    const element = first + (byte >> 5) * 64 + (byte & 31);
    codes[element] = value & 0x0f;
    codes[element + 32] = value >> 4;
  }
}

/**
 * d and dmin, then 12 bytes: the first four groups' scales and minima are the lower 6 bits of bytes 0 to 3 and 4 to 7; the others' lower
 * 4 bits are the nibbles of bytes 8 to 11 and their upper 2 those left over. The products have 17 bits and are exact.
 */
function sixBitScales(block: DataView, scales: Float32Array, firstScale: number): void {
  const d = half(block, 0);
  const dmin = half(block, 2);
  const packed = (index: number) => block.getUint8(4 + index);
  for (let group = 0; group < 8; group++) {
    const isFirstHalf = group < 4;
    const scale = isFirstHalf
      ? packed(group) & 63
      : (packed(group + 4) & 0x0f) | ((packed(group - 4) >> 6) << 4);
    const minimum = isFirstHalf
      ? packed(group + 4) & 63
      : (packed(group + 4) >> 4) | ((packed(group) >> 6) << 4);
    scales[firstScale + 2 * group] = d * scale;
    scales[firstScale + 2 * group + 1] = -(dmin * minimum);
  }
}

function halvesOf(values: Float32Array): Uint8Array<ArrayBuffer> {
  return bytesOf(halvesFromFloats(values));
}
