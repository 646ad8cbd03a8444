import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { TokenBucket } from '../../../signaling/token-bucket.ts';

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
