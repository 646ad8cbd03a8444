import { expect, it } from 'vitest';
import { summarizeTimes } from '../../../src/engine/profiler.ts';
import type { DispatchTime } from '../../../src/engine/profiler.ts';

const dispatch = (kernel: string, x: number, ms: number): DispatchTime => ({
  kernel,
  workgroups: [x, 1, 1],
  ms,
});

it('adds up dispatches of one kernel and grid, averages over steps, and puts the slowest first', () => {
  const step = [dispatch('rope', 1, 1), dispatch('matvec', 8, 2), dispatch('matvec', 8, 3)];
  const other = [dispatch('rope', 1, 3), dispatch('matvec', 8, 4), dispatch('matvec', 8, 7)];
  expect(summarizeTimes([step, other])).toEqual([
    { kernel: 'matvec', workgroups: '8 × 1 × 1', dispatches: 2, ms: 8, share: 0.8 },
    { kernel: 'rope', workgroups: '1 × 1 × 1', dispatches: 1, ms: 2, share: 0.2 },
  ]);
});

it('tells grids of one kernel apart', () => {
  const times = summarizeTimes([[dispatch('matvec', 8, 1), dispatch('matvec', 16, 2)]]);
  expect(times.map(({ workgroups }) => workgroups)).toEqual(['16 × 1 × 1', '8 × 1 × 1']);
});

it('has no shares of nothing', () => {
  expect(summarizeTimes([])).toEqual([]);
  expect(summarizeTimes([[dispatch('rope', 1, 0)]])[0]?.share).toBe(0);
});
