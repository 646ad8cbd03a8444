import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { TokenBucket } from '../../../src/protocol/token-bucket.ts';

it('lets through a burst and the rate after it, never more, and nothing less to the patient', () => {
  const pauses = fc.array(fc.integer({ min: 0, max: 500 }), { minLength: 1, maxLength: 200 });
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 20 }),
      fc.integer({ min: 1, max: 50 }),
      pauses,
      (burst, rate, waits) => {
        const bucket = new TokenBucket(burst, rate, 0);
        let nowMs = 0;
        let passed = 0;
        for (const wait of waits) {
          nowMs += wait;
          if (bucket.take(nowMs)) passed += 1;
          expect(passed).toBeLessThanOrEqual(burst + (nowMs / 1000) * rate + 1e-6);
        }
        nowMs += (burst / rate) * 1000 + 1;
        const burstAgain = Array.from({ length: burst + 1 }, () => bucket.take(nowMs));
        expect(burstAgain).toEqual([...Array.from({ length: burst }, () => true), false]);
      },
    ),
  );
});

it('does not lose tokens to a clock that goes back', () => {
  const bucket = new TokenBucket(2, 1, 1000);
  expect([bucket.take(500), bucket.take(500), bucket.take(500)]).toEqual([true, true, false]);
});

it('gives a burst, then a steady rate, however often it is asked', () => {
  let nowMs = 0;
  const bucket = new TokenBucket(5, 125, nowMs);
  const takenIn = (ms: number) => {
    let taken = 0;
    for (let elapsed = 0; elapsed < ms; elapsed += 1) {
      while (bucket.take(nowMs)) taken += 1;
      nowMs += 1;
    }
    return taken;
  };
  expect(takenIn(1)).toBe(5);
  expect(takenIn(1000)).toBe(125);
  nowMs += 1_000_000;
  expect(bucket.isFull(nowMs)).toBe(true);
  expect(takenIn(1)).toBe(5);
  expect(bucket.isFull(nowMs)).toBe(false);
});

it('takes nothing where there is too little', () => {
  const bucket = new TokenBucket(3, 100, 0);
  expect([bucket.take(0, 4), bucket.take(0, 2), bucket.take(0, 2), bucket.take(0, 1)]).toEqual([
    false,
    true,
    false,
    true,
  ]);
});
