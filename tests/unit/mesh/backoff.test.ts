import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { retryDelayMs } from '../../../src/mesh/backoff.ts';

const anyRandom = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

describe('the pause before connecting again', () => {
  it('begins within half a second and doubles, half of it by chance', () => {
    expect([1, 2, 3, 4, 5].map((attempt) => retryDelayMs(attempt, 0))).toEqual([250, 500, 1000, 1500, 1500]);
    expect([1, 2, 3, 4, 5].map((attempt) => retryDelayMs(attempt, 0.5))).toEqual([
      375, 750, 1500, 2250, 2250,
    ]);
  });

  it('is never over four seconds in the first two minutes, whatever chance does', () => {
    fc.assert(
      fc.property(fc.infiniteStream(anyRandom), (randoms) => {
        let awayMs = 0;
        for (let attempt = 1; awayMs < 120_000; attempt += 1) {
          const [random = 0] = randoms.take(1);
          const delayMs = retryDelayMs(attempt, random);
          expect(delayMs).toBeLessThanOrEqual(4_000);
          awayMs += delayMs;
        }
      }),
    );
  });

  it('grows to half a minute after that, and no further', () => {
    expect(retryDelayMs(200, 0)).toBe(15_000);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5000 }), anyRandom, (attempt, random) => {
        const delayMs = retryDelayMs(attempt, random);
        expect(delayMs).toBeGreaterThanOrEqual(250);
        expect(delayMs).toBeLessThanOrEqual(30_000);
      }),
    );
  });
});
