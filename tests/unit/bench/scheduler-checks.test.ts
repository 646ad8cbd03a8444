import { expect, it } from 'vitest';
import { place } from '../../../signaling/scheduler/placement.ts';
import { BENCH_CARD, BENCH_NETWORK, benchNodes, qualityChecks, wholeCheck } from '../../bench/placement.ts';
import { seededRandom } from '../signaling/scheduler/quality.ts';

const failing = (checks: ReturnType<typeof qualityChecks>) =>
  checks.filter(({ holds }) => !holds).map(({ name }) => name);

it('small meshes do not carry the mean of larger ones', () => {
  const few = Array.from({ length: 100 }, () => 1);
  expect(
    failing(
      qualityChecks(
        new Map([
          [5, few],
          [6, [0.95]],
        ]),
        0,
      ),
    ),
  ).toEqual([]);
  expect(
    failing(
      qualityChecks(
        new Map([
          [5, few],
          [8, [0.94]],
        ]),
        0,
      ),
    ),
  ).toEqual([expect.stringContaining('6 nodes or more')]);
});

it('meshes that were not tried, or placed wrong, are no success', () => {
  expect(failing(qualityChecks(new Map([[5, [1]]]), 0))).toHaveLength(1);
  expect(failing(qualityChecks(new Map(), 1))).toHaveLength(3);
});

it('a placement of nobody, or of a part, does not count as placed', () => {
  const placed = (count: number) =>
    place({
      models: [BENCH_CARD],
      nodes: benchNodes(count, seededRandom(1)),
      current: new Map(),
      stages: 'auto',
      network: BENCH_NETWORK,
    });
  const whole = placed(8);
  expect(wholeCheck(8, [whole, whole])).toMatchObject({ value: 0, holds: true });
  expect(wholeCheck(8, [whole, placed(1)])).toMatchObject({ value: 1, holds: false });
  expect(wholeCheck(8, [{ ...whole, assignments: new Map() }])).toMatchObject({ value: 1, holds: false });
});
