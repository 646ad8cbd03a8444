import { describe, expect, it } from 'vitest';
import { TokenBucket } from '../../../src/mesh/token-bucket.ts';
import { ManualClock } from './manual-clock.ts';

describe('a token bucket', () => {
  it('gives a burst, then a steady rate, however often it is asked', () => {
    const clock = new ManualClock();
    const bucket = new TokenBucket({ clock, capacity: 5, refillMs: 8 });
    const takenIn = (ms: number) => {
      let taken = 0;
      for (let elapsed = 0; elapsed < ms; elapsed += 1) {
        while (bucket.take()) taken += 1;
        clock.advance(1);
      }
      return taken;
    };
    expect(takenIn(1)).toBe(5);
    expect(takenIn(1000)).toBe(125);
    clock.advance(1_000_000);
    expect(bucket.isFull).toBe(true);
    expect(takenIn(1)).toBe(5);
    expect(bucket.isFull).toBe(false);
  });

  it('takes nothing where there is too little', () => {
    const bucket = new TokenBucket({ clock: new ManualClock(), capacity: 3, refillMs: 10 });
    expect([bucket.take(4), bucket.take(2), bucket.take(2), bucket.take(1)]).toEqual([
      false,
      true,
      false,
      true,
    ]);
  });
});
