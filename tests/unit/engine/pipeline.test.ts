import { describe, expect, it } from 'vitest';
import { ExecutorRoute } from './executor-route.ts';

/** Time that each stage takes for a pass. */
async function busyShares(passMs: readonly number[], requestCount: number): Promise<number[]> {
  const route = new ExecutorRoute(passMs.map(() => 400));
  route.slices.forEach((slice, index) => {
    slice.gate = () => new Promise((resolve) => void route.clock.after(passMs[index] ?? 0, resolve));
  });
  const asked = Array.from({ length: requestCount }, (_, index) => ({ prompt: [index], maxTokens: 60 }));
  const answered = route.ask(asked);
  // Everything is under way, and nothing ends yet.
  for (let step = 0; step < 20; step++) await route.pass(10);
  const from = route.clock.now();
  for (let step = 0; step < 60; step++) await route.pass(10);
  const to = route.clock.now();
  const shares = route.executors.map(({ trace }) =>
    trace
      .filter(({ endMs, startMs }) => endMs > from && startMs < to)
      .reduce(
        (sum, { startMs, endMs }) => sum + (Math.min(endMs, to) - Math.max(startMs, from)) / (to - from),
        0,
      ),
  );
  await answered;
  return shares;
}

describe('a pipeline with requests in flight', () => {
  it.each([
    [3, 3],
    [3, 6],
    [3, 7],
    [4, 10],
    [2, 3],
  ])('keeps %i equal stages busy with %i requests', async (stageCount, requestCount) => {
    const shares = await busyShares(new Array<number>(stageCount).fill(100), requestCount);
    for (const share of shares) expect(share).toBeGreaterThan(0.95);
  });

  it('keeps the slowest stage busy, and the others as far as it lets them', async () => {
    const [first = 0, second = 0, third = 0] = await busyShares([80, 100, 90], 6);
    expect(second).toBeGreaterThan(0.95);
    expect(first).toBeGreaterThan(0.75);
    expect(third).toBeGreaterThan(0.85);
  });
});
