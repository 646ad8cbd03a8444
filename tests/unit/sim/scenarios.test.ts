import { describe, expect, test } from 'vitest';
import { outcomeOf } from '../../sim/outcome.ts';
import { POLICIES } from '../../sim/policies/all.ts';
import type { Scenario } from '../../sim/scenario.ts';
import { SCENARIOS } from '../../sim/scenarios/all.ts';
import { Simulation } from '../../sim/simulation.ts';

const RUN_SECONDS = 20;
/** Of hundreds, so that it takes a second. */
const VISITS = 60;

describe.each(Object.values(SCENARIOS))('a short run of $name', (scenario) => {
  test('by the server’s own scheduler answers what it is asked', { timeout: 60_000 }, () => {
    const short: Scenario = {
      ...scenario,
      rampSeconds: 0,
      windowSeconds: RUN_SECONDS,
      visits: (random) => scenario.visits(random).slice(0, VISITS),
    };
    const rate = (short.rates[0] ?? 1) / 2;
    const policy = POLICIES['skein'];
    if (policy === undefined) throw new Error('There is no policy skein.');
    const simulation = new Simulation({ scenario: short, policy, requestsPerSecond: rate, seed: 3 });
    simulation.run();
    const outcome = outcomeOf(simulation, short);
    expect(outcome.requests).toBeGreaterThan(0);
    expect(outcome.answered).toBe(outcome.requests);
    expect(outcome.peakCacheShare).toBeLessThanOrEqual(1);
    expect(simulation.requests.every(({ tokens, answerTokens }) => tokens === answerTokens)).toBe(true);
  });
});
