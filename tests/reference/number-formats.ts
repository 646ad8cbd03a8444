import { BYTES_PER_ELEMENT } from '../../src/model/checkpoint.ts';
import type { TensorFormat } from '../../src/model/checkpoint.ts';

/** The exact value of an IEEE 754 half: 1 sign, 5 exponent and 10 fraction bits. */
export function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

/** Rounds a finite number to the nearest half, ties to even; too large a number becomes infinity. */
export function numberToHalf(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const magnitude = Math.abs(value);
  if (magnitude === 0) return sign;
  const exponent = Math.max(-14, Math.floor(Math.log2(magnitude)));
  // A fraction that rounds up to 2048 carries into the exponent by plain addition; below 2^-14 there is no hidden bit.
  const fraction = roundTiesToEven(magnitude * 2 ** (10 - exponent));
  return sign | Math.min(0x7c00, ((exponent + 14) << 10) + fraction);
}

/** The exact value of a bfloat16: the upper half of an f32. */
export function bfloat16ToNumber(bits: number): number {
  scratch.setUint32(0, bits << 16);
  return scratch.getFloat32(0);
}

/** Rounds a finite number to the nearest bfloat16, ties to even. */
export function numberToBfloat16(value: number): number {
  scratch.setFloat32(0, value);
  const bits = scratch.getUint32(0);
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

/** @returns one number per element, exactly as stored (little-endian). */
export function decodeElements(format: TensorFormat, bytes: Uint8Array): Float64Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const width = BYTES_PER_ELEMENT[format];
  return Float64Array.from({ length: bytes.byteLength / width }, (_, index) => {
    if (format === 'f32') return view.getFloat32(index * width, true);
    const bits = view.getUint16(index * width, true);
    return format === 'f16' ? halfToNumber(bits) : bfloat16ToNumber(bits);
  });
}

/** Rounds every value to the format; little-endian. */
export function encodeElements(format: TensorFormat, values: Float64Array): Uint8Array<ArrayBuffer> {
  const width = BYTES_PER_ELEMENT[format];
  const bytes = new Uint8Array(values.length * width);
  const view = new DataView(bytes.buffer);
  values.forEach((value, index) => {
    if (format === 'f32') view.setFloat32(index * width, value, true);
    else {
      const bits = format === 'f16' ? numberToHalf(value) : numberToBfloat16(value);
      view.setUint16(index * width, bits, true);
    }
  });
  return bytes;
}

const scratch = new DataView(new ArrayBuffer(4));

function roundTiesToEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}
