import { expect, test } from 'vitest';
import { Random } from '../../sim/random.ts';
import type { PolicyTraits } from '../../sim/policy.ts';
import { QWEN_3B_INT4 as CARD } from '../../sim/scenarios/models.ts';
import { drawCrowd } from '../../sim/scenarios/tabs.ts';
import { Simulation } from '../../sim/simulation.ts';
import type { Visit } from '../../sim/scenario.ts';
import { FixedPolicy, PLAIN_TRAITS, quietScenario, visit, wholeModel } from './fixed-policy.ts';

const DIES_AT = 60.02;

function dying(leaving: Visit['leaving'], notice: PolicyTraits['notice'], seed = 7) {
  const scenario = quietScenario({
    visits: () => [visit({ leavesAt: DIES_AT, leaving })],
    lengths: { ...quietScenario().lengths, answer: { mean: 400, deviation: 0 } },
  });
  const policy = new FixedPolicy([wholeModel(CARD)], { ...PLAIN_TRAITS, afterLoss: 'lost', notice });
  const simulation = new Simulation({ scenario, policy: () => policy, requestsPerSecond: 0.5, seed });
  simulation.run();
  const struck = simulation.requests.filter(({ losses }) => losses > 0);
  return { policy, struck };
}

test.each([
  ['closed', 2, 1],
  ['vanished', 20, 16],
] as const)(
  'a tab that is %s is missed after its time by requests and by the policy',
  (leaving, request, told) => {
    const { policy, struck } = dying(leaving, PLAIN_TRAITS.notice);
    expect(policy.lostAt).toEqual([DIES_AT + told]);
    const atDeath = struck.filter(({ arrivedAt }) => arrivedAt < DIES_AT);
    expect(atDeath.length).toBeGreaterThan(0);
    for (const { endedAt } of atDeath) expect(endedAt).toBeCloseTo(DIES_AT + request, 9);
    // Who comes meanwhile is sent to a tab that is gone, and notices with the others, or at its first frame.
    const late = struck.filter(({ arrivedAt }) => arrivedAt > DIES_AT);
    expect(late.length > 0).toBe(leaving === 'vanished');
    for (const { arrivedAt, endedAt } of late) {
      expect(endedAt).toBeCloseTo(Math.max(DIES_AT + request, arrivedAt + 2), 9);
    }
  },
);

test('the time is anywhere between its bounds, whoever watches', () => {
  const bounds = { request: [10, 30], policy: [10, 30] } as const;
  const times = Array.from({ length: 30 }, (_, seed) => {
    const { policy } = dying('vanished', { closed: bounds, vanished: bounds }, seed);
    return (policy.lostAt[0] ?? NaN) - DIES_AT;
  });
  expect(Math.min(...times)).toBeGreaterThanOrEqual(9.99);
  expect(Math.min(...times)).toBeLessThan(15);
  expect(Math.max(...times)).toBeGreaterThan(25);
  expect(Math.max(...times)).toBeLessThanOrEqual(30.01);
});

test('of those that say nothing, so many lose the network and the others close the tab', () => {
  const visits = drawCrowd(
    {
      tabs: 2000,
      gatherSeconds: 1,
      halfLifeSeconds: 600,
      endSeconds: 0,
      politeShare: 0.5,
      vanishedShare: 0.2,
      returnShare: 0,
      slowdownShare: 0,
    },
    new Random('leaving'),
  );
  const shareOf = (leaving: Visit['leaving']) =>
    visits.filter((each) => each.leaving === leaving).length / visits.length;
  expect(shareOf('politely')).toBeCloseTo(0.5, 1);
  expect(shareOf('closed')).toBeGreaterThan(0.37);
  expect(shareOf('vanished')).toBeGreaterThan(0.08);
  expect(shareOf('vanished')).toBeLessThan(0.12);
});
