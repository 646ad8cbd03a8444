import { expect, test } from 'vitest';
import { outcomeOf } from '../../sim/outcome.ts';
import type { Objective } from '../../sim/scenario.ts';
import { Simulation } from '../../sim/simulation.ts';
import { FixedPolicy, quietScenario, wholeModel } from './fixed-policy.ts';

const ANSWER_TOKENS = 20;

function simulate(objective: Objective) {
  const scenario = quietScenario({ objective, rampSeconds: 100, windowSeconds: 50 });
  const policy = new FixedPolicy([wholeModel(scenario.card)]);
  const simulation = new Simulation({ scenario, policy: () => policy, requestsPerSecond: 0.5, seed: 7 });
  simulation.run();
  return { simulation, outcome: outcomeOf(simulation, scenario) };
}

test('goodput and what it can be at most are of the requests that came inside the window', () => {
  const { simulation, outcome } = simulate({ firstTokenSeconds: 100, secondsPerToken: 10 });
  const inside = simulation.requests.filter(({ arrivedAt }) => simulation.meter.isOpen(arrivedAt)).length;
  expect(inside).toBeGreaterThan(5);
  expect(simulation.requests.length).toBeGreaterThan(2 * inside);
  expect(outcome.goodTokensPerSecond).toBeCloseTo((inside * ANSWER_TOKENS) / 50, 9);
  expect(outcome.askedTokensPerSecond).toBeCloseTo((inside * ANSWER_TOKENS) / 50, 9);
});

test('an answer counts when its first token comes in time and the others keep their pace, neither for the other', () => {
  const { simulation, outcome } = simulate({ firstTokenSeconds: 100, secondsPerToken: 10 });
  const waits = simulation.requests.map(({ firstTokenAt, arrivedAt }) => firstTokenAt - arrivedAt);
  const fastest = Math.min(...waits);
  const pace = outcome.timePerToken.p50;
  expect(simulate({ firstTokenSeconds: fastest / 2, secondsPerToken: 10 }).outcome.goodTokensPerSecond).toBe(
    0,
  );
  expect(simulate({ firstTokenSeconds: 100, secondsPerToken: pace / 4 }).outcome.goodTokensPerSecond).toBe(0);
});
