import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ropeInverseFrequencies } from '../../../src/model/rope.ts';
import { TINY_LLAMA, TINY_QWEN3 } from '../../fixtures/architectures.ts';
import { rotaryFrequencies } from '../../reference/transformer.ts';

describe('ropeInverseFrequencies', () => {
  it('falls by powers of theta', () => {
    const frequencies = ropeInverseFrequencies({ ...TINY_QWEN3, headDim: 8, ropeTheta: 10_000 });
    expect([...frequencies]).toEqual(
      [1, 0.1, 0.01, 0.001].map((value) => expect.closeTo(value, 15) as number),
    );
  });

  // Wavelengths 2π, 20π, 200π and 2000π. Kept below 1000 / 4; divided by 8 above 1000 / 1; between, 200π is kept by
  // (1000 / 200π − 1) / (4 − 1) = 0.1971831… and divided for the rest: 0.01 · (0.1971831 + 0.8028169 / 8).
  it('keeps, blends and stretches by wavelength for Llama 3', () => {
    const frequencies = ropeInverseFrequencies({
      ...TINY_LLAMA,
      headDim: 8,
      ropeTheta: 10_000,
      ropeScaling: {
        kind: 'llama3',
        factor: 8,
        lowFrequencyFactor: 1,
        highFrequencyFactor: 4,
        originalContextLength: 1000,
      },
    });
    const expected = [1, 0.1, 0.0029753525068469, 0.000125];
    expect([...frequencies]).toEqual(expected.map((value) => expect.closeTo(value, 15) as number));
  });

  it('agrees with the reference for any setting', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 128 }),
        fc.integer({ min: 2, max: 5_000_000 }),
        fc.option(
          fc.record({
            factor: fc.double({ min: 1, max: 64, noNaN: true }),
            lowFrequencyFactor: fc.double({ min: 0.5, max: 3, noNaN: true }),
            highFrequencyFactor: fc.double({ min: 3.5, max: 16, noNaN: true }),
            originalContextLength: fc.integer({ min: 1, max: 131_072 }),
          }),
        ),
        (pairs, ropeTheta, scaling) => {
          const ropeScaling = scaling && { kind: 'llama3' as const, ...scaling };
          const architecture = { ...TINY_LLAMA, headDim: 2 * pairs, ropeTheta, ropeScaling };
          const expected = rotaryFrequencies(architecture);
          const errors = ropeInverseFrequencies(architecture).map((value, pair) =>
            Math.abs(value / (expected[pair] ?? NaN) - 1),
          );
          expect(Math.max(...errors)).toBeLessThan(1e-12);
        },
      ),
    );
  });
});
