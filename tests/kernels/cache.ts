import type { Precision } from '../../src/engine/weight-format.ts';
import { halfToNumber, numberToHalf } from '../reference/number-formats.ts';

/** The elements of a cache as stored: f32, or halves packed two per word. */
export function decodeCache(format: Precision, words: Uint32Array): Float64Array {
  if (format === 'f32') return Float64Array.from(new Float32Array(words.buffer));
  return Float64Array.from(new Uint16Array(words.buffer), halfToNumber);
}

/** Rounds to the format of the cache. NaN, the poison of slots that nobody may read, stays NaN. */
export function encodeCache(format: Precision, elements: Float64Array): Uint8Array {
  if (format === 'f32') return new Uint8Array(Float32Array.from(elements).buffer);
  const HALF_NAN = 0x7e00;
  return new Uint8Array(
    Uint16Array.from(elements, (value) => (Number.isNaN(value) ? HALF_NAN : numberToHalf(value))).buffer,
  );
}
