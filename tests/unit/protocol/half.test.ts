import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { floatsFromHalves, MAX_HALF, writeHalves } from '../../../src/protocol/half.ts';

const EVERY_HALF = Uint16Array.from({ length: 0x1_0000 }, (_, half) => half);
const INFINITY_F16 = 0x7c00;

function halfOf(value: number): number {
  const target = new Uint16Array(1);
  writeHalves(Float32Array.of(value), target);
  return target[0] ?? -1;
}

function floatOf(half: number): number {
  return floatsFromHalves(Uint16Array.of(half))[0] ?? NaN;
}

function isNanHalf(half: number): boolean {
  return (half & 0x7fff) > INFINITY_F16;
}

/** The f32 next to `value`, away from zero for +1, towards it for -1. */
function nextFloat(value: number, steps: number): number {
  const float = Float32Array.of(value);
  const bits = new Uint32Array(float.buffer);
  bits[0] = (bits[0] ?? 0) + steps;
  return float[0] ?? NaN;
}

describe('halves', () => {
  it('come back with the same bits, all 65,536 of them', () => {
    const back = new Uint16Array(EVERY_HALF.length);
    writeHalves(floatsFromHalves(EVERY_HALF), back);
    const wrong = EVERY_HALF.filter((half, index) =>
      isNanHalf(half) ? !isNanHalf(back[index] ?? 0) : back[index] !== half,
    );
    expect([...wrong]).toEqual([]);
  });

  it('have the values of the standard', () => {
    const known: [number, number][] = [
      [0x0000, 0],
      [0x8000, -0],
      [0x0001, 2 ** -24],
      [0x03ff, 1023 * 2 ** -24],
      [0x0400, 2 ** -14],
      [0x3555, 0.333251953125],
      [0x3c00, 1],
      [0xc000, -2],
      [0x7bff, MAX_HALF],
      [0x7c00, Infinity],
      [0xfc00, -Infinity],
    ];
    for (const [half, value] of known) expect(floatOf(half)).toBe(value);
    expect(floatOf(0x7e01)).toBeNaN();
    expect(isNanHalf(halfOf(NaN))).toBe(true);
  });

  it('round to nearest, ties to even, between every two neighbours', () => {
    const wrong: number[] = [];
    for (let lower = 0; lower < INFINITY_F16 - 1; lower += 1) {
      const upper = lower + 1;
      const middle = (floatOf(lower) + floatOf(upper)) / 2;
      const even = lower % 2 === 0 ? lower : upper;
      const isRight =
        halfOf(middle) === even &&
        halfOf(nextFloat(middle, -1)) === lower &&
        halfOf(nextFloat(middle, 1)) === upper &&
        halfOf(-middle) === (even | 0x8000);
      if (!isRight) wrong.push(lower);
    }
    expect(wrong).toEqual([]);
  });

  it('overflow to infinity from 65,520 on', () => {
    expect(halfOf(65_519.996)).toBe(0x7bff);
    expect(halfOf(65_520)).toBe(INFINITY_F16);
    expect(halfOf(-1e30)).toBe(INFINITY_F16 | 0x8000);
  });

  it('are read from a view into a larger buffer', () => {
    const whole = Float32Array.of(9, 1, -2, 9);
    const target = new Uint16Array(2);
    writeHalves(whole.subarray(1, 3), target);
    expect([...target]).toEqual([0x3c00, 0xc000]);
  });

  it('never err by more than half a unit in the last place', () => {
    fc.assert(
      fc.property(fc.float({ min: -MAX_HALF, max: MAX_HALF, noNaN: true }), (value) => {
        const unit = Math.max(2 ** -24, 2 ** (Math.floor(Math.log2(Math.abs(value) || 1)) - 10));
        expect(Math.abs(floatOf(halfOf(value)) - value)).toBeLessThanOrEqual(unit / 2);
      }),
    );
  });
});
