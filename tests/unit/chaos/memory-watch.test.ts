import { describe, expect, it } from 'vitest';
import { growthsOf, summarizeLife } from '../../chaos/memory-watch.ts';

const TEN_MINUTES_MS = 600_000;
const life = (seconds: number, bytesAt: (second: number) => number) => ({
  name: 'peer',
  samples: Array.from({ length: seconds + 1 }, (_, second) => ({
    atMs: 5_000 + second * 1000,
    bytes: bytesAt(second),
  })),
});

describe('what a process took', () => {
  it('is its beginning, its warm middle, its peak and its end', () => {
    const summary = summarizeLife(
      life(100, (second) => (second < 30 ? 10 : second === 80 ? 99 : second < 70 ? 20 : 30)),
      TEN_MINUTES_MS,
    );
    expect(summary).toEqual({
      name: 'peer',
      seconds: 100,
      startBytes: 10,
      peakBytes: 99,
      steadyBytes: 20,
      endBytes: 30,
    });
  });

  it('shows a leak, and not what was loaded while it warmed up', () => {
    const leaking = summarizeLife(
      life(300, (second) => 100 + second * 2),
      TEN_MINUTES_MS,
    );
    expect((leaking?.endBytes ?? 0) / (leaking?.steadyBytes ?? 1)).toBeGreaterThan(1.5);
    const warm = summarizeLife(
      life(300, (second) => (second < 25 ? second : 100)),
      TEN_MINUTES_MS,
    );
    expect((warm?.endBytes ?? 0) / (warm?.steadyBytes ?? 1)).toBe(1);
  });

  it('is not told of a life too short', () => {
    expect(
      summarizeLife(
        life(69, () => 1),
        TEN_MINUTES_MS,
      ),
    ).toBeNull();
    expect(
      summarizeLife(
        life(35, () => 1),
        60_000,
      ),
    ).not.toBeNull();
    expect(
      summarizeLife(
        life(33, () => 1),
        60_000,
      ),
    ).toBeNull();
  });
});

describe('how much more it takes at the end', () => {
  const lived = (name: string, steadyBytes: number, endBytes: number) => ({
    name,
    seconds: 300,
    startBytes: 1,
    peakBytes: endBytes,
    steadyBytes,
    endBytes,
  });

  it('is told by its own warm figure, or by its like where it was idle then', () => {
    const nodes = [lived('node 1', 80, 90), lived('node 2', 40, 80), lived('node 3', 80, 160)];
    expect(growthsOf([...nodes, lived('server', 10, 30)])).toEqual([90 / 80, 1, 2, 3]);
  });
});
