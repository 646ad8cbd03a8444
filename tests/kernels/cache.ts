import type { AttentionShape, CacheFormat } from '../../src/engine/kernels/attention-shape.ts';
import { halfToNumber, numberToHalf } from '../reference/number-formats.ts';

type CacheShape = Pick<AttentionShape, 'cacheFormat' | 'headDim'>;

const HALF_NAN = 0x7e00;
const LARGEST_CODE = 127;
const BYTES_PER_WORD = 4;

/** [heads, headDim] from a cache as stored: f32, halves packed two per word, or rows of codes, a scale and a word of padding. */
export function decodeCache({ cacheFormat, headDim }: CacheShape, words: Uint32Array): Float64Array {
  const decoders: Record<CacheFormat, () => Float64Array> = {
    f32: () => Float64Array.from(new Float32Array(words.buffer)),
    f16: () => Float64Array.from(new Uint16Array(words.buffer), halfToNumber),
    int8: () => {
      const rowBytes = headDim + 2 * BYTES_PER_WORD;
      const heads = words.byteLength / rowBytes;
      const codes = new Int8Array(words.buffer);
      const floats = new Float32Array(words.buffer);
      return Float64Array.from({ length: heads * headDim }, (_, index) => {
        const head = Math.floor(index / headDim);
        const scale = floats[(head * rowBytes + headDim) / BYTES_PER_WORD] ?? NaN;
        return scale * (codes[head * rowBytes + (index % headDim)] ?? NaN);
      });
    },
  };
  return decoders[cacheFormat]();
}

/** Rounds to the format of the cache. NaN, the poison of slots that nobody may read, stays NaN. */
export function encodeCache({ cacheFormat, headDim }: CacheShape, elements: Float64Array): Uint8Array {
  const encoders: Record<CacheFormat, () => Uint8Array> = {
    f32: () => new Uint8Array(Float32Array.from(elements).buffer),
    f16: () =>
      new Uint8Array(
        Uint16Array.from(elements, (value) => (Number.isNaN(value) ? HALF_NAN : numberToHalf(value))).buffer,
      ),
    int8: () => {
      const rowBytes = headDim + 2 * BYTES_PER_WORD;
      const heads = elements.length / headDim;
      // The padding is poison too.
      const floats = new Float32Array((heads * rowBytes) / BYTES_PER_WORD).fill(NaN);
      const codes = new Int8Array(floats.buffer);
      for (let head = 0; head < heads; head++) {
        const row = elements.subarray(head * headDim, (head + 1) * headDim);
        const peak = row.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
        floats[(head * rowBytes + headDim) / BYTES_PER_WORD] = peak / LARGEST_CODE;
        // A head of NaN keeps codes, which its scale poisons.
        row.forEach((value, index) => {
          codes[head * rowBytes + index] = Number.isNaN(value)
            ? LARGEST_CODE
            : Math.round((value * LARGEST_CODE) / (peak === 0 ? 1 : peak));
        });
      }
      return new Uint8Array(floats.buffer);
    },
  };
  return encoders[cacheFormat]();
}
