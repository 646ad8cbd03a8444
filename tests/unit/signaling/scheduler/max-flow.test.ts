import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { maxFlow } from '../../../../signaling/scheduler/max-flow.ts';

const VERTICES = 6;

it('is the least of all cuts', () => {
  const edges = fc.array(
    fc.record({ from: fc.nat(VERTICES - 1), to: fc.nat(VERTICES - 1), capacity: fc.nat(9) }),
    { maxLength: 24 },
  );
  fc.assert(
    fc.property(edges, (list) => {
      let least = Infinity;
      for (let near = 1; near < 1 << (VERTICES - 1); near += 2) {
        const isNear = (vertex: number) => (near & (1 << vertex)) !== 0;
        const cut = list.filter(({ from, to }) => isNear(from) && !isNear(to));
        least = Math.min(
          least,
          cut.reduce((sum, { capacity }) => sum + capacity, 0),
        );
      }
      expect(maxFlow(VERTICES, 0, VERTICES - 1, list)).toBe(least);
    }),
    { numRuns: 500 },
  );
});

it('takes back what stands in the way of more', () => {
  // The shortest path is 0-1-4-7; with it, neither 0-2-3-4 nor 1-5-6-7 leads anywhere.
  const edges = [
    [0, 1],
    [1, 4],
    [4, 7],
    [0, 2],
    [2, 3],
    [3, 4],
    [1, 5],
    [5, 6],
    [6, 7],
  ].map(([from = 0, to = 0]) => ({ from, to, capacity: 1 }));
  expect(maxFlow(8, 0, 7, edges)).toBe(2);
});
