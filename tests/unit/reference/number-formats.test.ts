import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  bfloat16ToNumber,
  decodeElements,
  encodeElements,
  halfToNumber,
  numberToBfloat16,
  numberToHalf,
} from '../../reference/number-formats.ts';

/** Every 16-bit pattern that is not a NaN: of those there are many, and one is as good as another. */
const PATTERNS = Array.from({ length: 0x10000 }, (_, bits) => bits);

describe('half precision', () => {
  it.each([
    [0x0000, 0],
    [0x0001, 2 ** -24],
    [0x03ff, 1023 * 2 ** -24],
    [0x0400, 2 ** -14],
    [0x3c00, 1],
    [0x3c01, 1 + 2 ** -10],
    [0xc000, -2],
    [0x7bff, 65504],
    [0x7c00, Infinity],
    [0xfc00, -Infinity],
  ])('%d is %d', (bits, value) => {
    expect(halfToNumber(bits)).toBe(value);
  });

  it('keeps the sign of zero, and NaN', () => {
    expect(halfToNumber(0x8000)).toBe(-0);
    expect(halfToNumber(0x7c01)).toBeNaN();
  });

  it('survives the way there and back in every pattern', () => {
    const patterns = PATTERNS.filter((bits) => Number.isFinite(halfToNumber(bits)));
    expect(patterns.map((bits) => numberToHalf(halfToNumber(bits)))).toEqual(patterns);
  });

  it('rounds to the nearest, ties to even', () => {
    const ulp = 2 ** -10;
    expect([0.5, 0.5001, 1.4999, 1.5, 2.5].map((ulps) => numberToHalf(1 + ulps * ulp) - 0x3c00)).toEqual([
      0, 1, 1, 2, 2,
    ]);
    expect([65519, 65520, 1e10, -1e10].map(numberToHalf)).toEqual([0x7bff, 0x7c00, 0x7c00, 0xfc00]);
    expect([2 ** -25, 1.5 * 2 ** -24, 2 ** -14 - 2 ** -26].map(numberToHalf)).toEqual([0, 2, 0x400]);
  });
});

describe('bfloat16', () => {
  it.each([
    [0x3f80, 1],
    [0xc040, -3],
    [0x3f81, 1 + 2 ** -7],
    [0x0001, 2 ** -133],
    [0x7f80, Infinity],
  ])('%d is %d', (bits, value) => {
    expect(bfloat16ToNumber(bits)).toBe(value);
  });

  it('survives the way there and back in every pattern', () => {
    const patterns = PATTERNS.filter((bits) => Number.isFinite(bfloat16ToNumber(bits)));
    expect(patterns.map((bits) => numberToBfloat16(bfloat16ToNumber(bits)))).toEqual(patterns);
  });

  it('rounds to the nearest, ties to even', () => {
    const ulp = 2 ** -7;
    expect([0.5, 0.51, 1.49, 1.5, 2.5].map((ulps) => numberToBfloat16(1 + ulps * ulp) - 0x3f80)).toEqual([
      0, 1, 1, 2, 2,
    ]);
  });
});

describe('elements', () => {
  it('are little-endian', () => {
    const values = Float64Array.of(1, -2.5);
    expect([...encodeElements('f32', values)]).toEqual([0, 0, 0x80, 0x3f, 0, 0, 0x20, 0xc0]);
    expect([...encodeElements('f16', values)]).toEqual([0, 0x3c, 0, 0xc1]);
    expect([...encodeElements('bf16', values)]).toEqual([0x80, 0x3f, 0x20, 0xc0]);
  });

  it('come back as they were when the format holds them', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('f32', 'f16', 'bf16'),
        fc.array(fc.integer({ min: -256, max: 256 })),
        (format, values) => {
          const eighths = Float64Array.from(values, (value) => value / 8);
          expect(decodeElements(format, encodeElements(format, eighths))).toEqual(eighths);
        },
      ),
    );
  });
});
