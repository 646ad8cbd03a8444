import { bfloat16ToNumber, halfToNumber } from './number-formats.ts';

/**
 * What GGUF's types mean, in f32 as ggml dequantises them: loops over the blocks in the order of the bytes, every product and
 * difference rounded. Written from the description of the blocks; nothing is shared with the loader.
 */
export interface ReferenceType {
  /** Number of the type in a file. */
  readonly id: number;
  readonly name: string;
  readonly blockElements: number;
  readonly blockBytes: number;
  /** Calls `emit` with the values of a block, in order. */
  readonly dequantize: (block: Uint8Array, emit: (index: number, value: number) => void) => void;
}

const f = Math.fround;
const half = (block: Uint8Array, at: number): number =>
  halfToNumber(byte(block, at) + 256 * byte(block, at + 1));

/** The scale and the minimum of group `index` among the 12 bytes that hold eight of each, six bits apiece. */
function scaleAndMinimum(bytes: Uint8Array, index: number): [scale: number, minimum: number] {
  const lowBits = (value: number, count: number) => value % 2 ** count;
  if (index < 4) return [lowBits(byte(bytes, index), 6), lowBits(byte(bytes, index + 4), 6)];
  const shared = byte(bytes, index + 4);
  const topOfScale = Math.floor(byte(bytes, index - 4) / 64);
  const topOfMinimum = Math.floor(byte(bytes, index) / 64);
  return [lowBits(shared, 4) + 16 * topOfScale, Math.floor(shared / 16) + 16 * topOfMinimum];
}

export const REFERENCE_TYPES: readonly ReferenceType[] = [
  {
    id: 0,
    name: 'F32',
    blockElements: 1,
    blockBytes: 4,
    dequantize: (block, emit) => emit(0, new DataView(block.buffer, block.byteOffset, 4).getFloat32(0, true)),
  },
  {
    id: 1,
    name: 'F16',
    blockElements: 1,
    blockBytes: 2,
    dequantize: (block, emit) => emit(0, half(block, 0)),
  },
  {
    id: 30,
    name: 'BF16',
    blockElements: 1,
    blockBytes: 2,
    dequantize: (block, emit) => emit(0, bfloat16ToNumber(byte(block, 0) + 256 * byte(block, 1))),
  },
  {
    id: 2,
    name: 'Q4_0',
    blockElements: 32,
    blockBytes: 18,
    dequantize: (block, emit) => {
      const d = half(block, 0);
      for (let j = 0; j < 16; j++) {
        const packed = byte(block, 2 + j);
        emit(j, f(((packed & 0x0f) - 8) * d));
        emit(j + 16, f(((packed >> 4) - 8) * d));
      }
    },
  },
  {
    id: 3,
    name: 'Q4_1',
    blockElements: 32,
    blockBytes: 20,
    dequantize: (block, emit) => {
      const d = half(block, 0);
      const m = half(block, 2);
      for (let j = 0; j < 16; j++) {
        const packed = byte(block, 4 + j);
        emit(j, f(f((packed & 0x0f) * d) + m));
        emit(j + 16, f(f((packed >> 4) * d) + m));
      }
    },
  },
  {
    id: 6,
    name: 'Q5_0',
    blockElements: 32,
    blockBytes: 22,
    dequantize: (block, emit) => {
      const d = half(block, 0);
      for (let j = 0; j < 32; j++) {
        const packed = byte(block, 6 + (j % 16));
        const nibble = j < 16 ? packed % 16 : Math.floor(packed / 16);
        emit(j, f((nibble + 16 * fifthBit(block, 2, j) - 16) * d));
      }
    },
  },
  {
    id: 7,
    name: 'Q5_1',
    blockElements: 32,
    blockBytes: 24,
    dequantize: (block, emit) => {
      const d = half(block, 0);
      const m = half(block, 2);
      for (let j = 0; j < 32; j++) {
        const packed = byte(block, 8 + (j % 16));
        const nibble = j < 16 ? packed % 16 : Math.floor(packed / 16);
        emit(j, f(f((nibble + 16 * fifthBit(block, 4, j)) * d) + m));
      }
    },
  },
  {
    id: 8,
    name: 'Q8_0',
    blockElements: 32,
    blockBytes: 34,
    dequantize: (block, emit) => {
      const d = half(block, 0);
      for (let j = 0; j < 32; j++) emit(j, f(signed(block, 2 + j) * d));
    },
  },
  {
    id: 12,
    name: 'Q4_K',
    blockElements: 256,
    blockBytes: 144,
    dequantize: (block, emit) => {
      const d = half(block, 0);
      const dmin = half(block, 2);
      for (let pair = 0; pair < 4; pair++) {
        for (const isUpper of [0, 1]) {
          const [scale, minimum] = scaleAndMinimum(block.subarray(4, 16), 2 * pair + isUpper);
          const d1 = f(d * scale);
          const m1 = f(dmin * minimum);
          for (let l = 0; l < 32; l++) {
            const packed = byte(block, 16 + 32 * pair + l);
            const code = isUpper ? packed >> 4 : packed & 0x0f;
            emit(64 * pair + 32 * isUpper + l, f(f(d1 * code) - m1));
          }
        }
      }
    },
  },
  {
    id: 13,
    name: 'Q5_K',
    blockElements: 256,
    blockBytes: 176,
    dequantize: (block, emit) => {
      const d = half(block, 0);
      const dmin = half(block, 2);
      let mask = 1;
      for (let pair = 0; pair < 4; pair++) {
        for (const isUpper of [0, 1]) {
          const [scale, minimum] = scaleAndMinimum(block.subarray(4, 16), 2 * pair + isUpper);
          const d1 = f(d * scale);
          const m1 = f(dmin * minimum);
          for (let l = 0; l < 32; l++) {
            const packed = byte(block, 48 + 32 * pair + l);
            const nibble = isUpper ? packed >> 4 : packed & 0x0f;
            const code = nibble + (byte(block, 16 + l) & mask ? 16 : 0);
            emit(64 * pair + 32 * isUpper + l, f(f(d1 * code) - m1));
          }
          mask *= 2;
        }
      }
    },
  },
  {
    id: 14,
    name: 'Q6_K',
    blockElements: 256,
    blockBytes: 210,
    dequantize: (block, emit) => {
      const d = half(block, 208);
      for (const n of [0, 1]) {
        const low = block.subarray(64 * n, 64 * n + 64);
        const high = block.subarray(128 + 32 * n, 160 + 32 * n);
        const scales = block.subarray(192 + 8 * n, 200 + 8 * n);
        for (let l = 0; l < 32; l++) {
          const is = Math.floor(l / 16);
          const codes = [
            (byte(low, l) & 15) | (((byte(high, l) >> 0) & 3) << 4),
            (byte(low, l + 32) & 15) | (((byte(high, l) >> 2) & 3) << 4),
            (byte(low, l) >> 4) | (((byte(high, l) >> 4) & 3) << 4),
            (byte(low, l + 32) >> 4) | (((byte(high, l) >> 6) & 3) << 4),
          ];
          codes.forEach((code, quarter) => {
            const scaled = f(d * signed(scales, is + 2 * quarter));
            emit(128 * n + 32 * quarter + l, f(scaled * (code - 32)));
          });
        }
      }
    },
  },
];

/** @returns f32, as many as the blocks hold. */
export function dequantizeBlocks(type: ReferenceType, bytes: Uint8Array): Float32Array<ArrayBuffer> {
  const blocks = bytes.length / type.blockBytes;
  const values = new Float32Array(blocks * type.blockElements).fill(NaN);
  for (let index = 0; index < blocks; index++) {
    const block = bytes.subarray(index * type.blockBytes, (index + 1) * type.blockBytes);
    type.dequantize(block, (element, value) => (values[index * type.blockElements + element] = value));
  }
  return values;
}

function fifthBit(block: Uint8Array, at: number, index: number): number {
  return (byte(block, at + Math.floor(index / 8)) >> (index % 8)) & 1;
}

function signed(block: Uint8Array, at: number): number {
  const value = byte(block, at);
  return value < 128 ? value : value - 256;
}

function byte(block: Uint8Array, at: number): number {
  const value = block[at];
  if (value === undefined) throw new RangeError(`Byte ${at} is outside of ${block.length}.`);
  return value;
}
