/**
 * IEEE 754 binary16 arrays in plain typed arrays: Float16Array is younger than the browsers and Nodes we run on.
 * A half is its 16 bits in a Uint16Array.
 */

/** Largest finite half. */
export const MAX_HALF = 65_504;

const SIGN_MASK_F32 = 0x8000_0000;
const INFINITY_F32 = 0x7f80_0000;
/** 65,536: from here on even truncation overflows a half. */
const OVERFLOW_F32 = 0x4780_0000;
/** 2^-14, the smallest normal half. */
const SMALLEST_NORMAL_F32 = 0x3880_0000;
/** 2^-25, half of the smallest subnormal half: a tie that goes to even zero. */
const LARGEST_TO_ZERO_F32 = 0x3300_0000;
/** What subtracting turns a biased f32 exponent into a biased f16 one, in place: (127 − 15) << 23. */
const REBIAS_F32 = 0x3800_0000;
const INFINITY_F16 = 0x7c00;
const NAN_F16 = 0x7e00;
const HALF_COUNT = 0x1_0000;

/** Whether every value is one that rounds to a finite half. */
export function fitsHalf(values: Float32Array): boolean {
  return values.every((value) => Math.abs(value) <= MAX_HALF);
}

/**
 * Rounds to nearest, ties to even; beyond ±65,519.99… comes infinity, NaN stays NaN.
 * @param values f32, not retained.
 * @param target receives one half per value, from index 0.
 */
export function writeHalves(values: Float32Array, target: Uint16Array): void {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let index = 0; index < bits.length; index += 1) target[index] = halfFromF32Bits(bits[index] ?? 0);
}

/** As `writeHalves`. The result is new. */
export function halvesFromFloats(values: Float32Array): Uint16Array<ArrayBuffer> {
  const halves = new Uint16Array(values.length);
  writeHalves(values, halves);
  return halves;
}

/** Exact: every half is an f32. The result is new. */
export function floatsFromHalves(halves: Uint16Array): Float32Array<ArrayBuffer> {
  const table = halfTable();
  const values = new Float32Array(halves.length);
  for (let index = 0; index < halves.length; index += 1) values[index] = table[halves[index] ?? 0] ?? 0;
  return values;
}

/** @param half the 16 bits. */
export function halfToFloat(half: number): number {
  return halfTable()[half] ?? NaN;
}

function halfFromF32Bits(bits: number): number {
  const sign = (bits & SIGN_MASK_F32) >>> 16;
  const magnitude = bits & ~SIGN_MASK_F32;
  if (magnitude >= OVERFLOW_F32) return sign | (magnitude > INFINITY_F32 ? NAN_F16 : INFINITY_F16);
  if (magnitude >= SMALLEST_NORMAL_F32) return sign | roundShift(magnitude - REBIAS_F32, 13);
  if (magnitude <= LARGEST_TO_ZERO_F32) return sign;
  const significand = (magnitude & 0x7f_ffff) | 0x80_0000;
  return sign | roundShift(significand, 126 - (magnitude >>> 23));
}

/** `value / 2^shift`, rounded to nearest, ties to even. A carry into the exponent is the right exponent. */
function roundShift(value: number, shift: number): number {
  const isOdd = (value >>> shift) & 1;
  return (value + (1 << (shift - 1)) - 1 + isOdd) >>> shift;
}

let cachedTable: Float32Array | null = null;

/** The value of every half; a lookup is several times faster than taking bits apart. */
function halfTable(): Float32Array {
  cachedTable ??= Float32Array.from({ length: HALF_COUNT }, (_, half) => {
    const sign = half >>> 15 ? -1 : 1;
    const exponent = (half >>> 10) & 0x1f;
    const mantissa = half & 0x3ff;
    if (exponent === 0x1f) return mantissa === 0 ? sign * Infinity : NaN;
    return exponent === 0 ? sign * mantissa * 2 ** -24 : sign * (1 + mantissa / 1024) * 2 ** (exponent - 15);
  });
  return cachedTable;
}
