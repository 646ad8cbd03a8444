import { describe, expect, test } from 'vitest';
import { outcomeOf } from '../../sim/outcome.ts';
import type { PolicyTraits } from '../../sim/policy.ts';
import { QWEN_3B_INT4 as CARD } from '../../sim/scenarios/models.ts';
import { Simulation } from '../../sim/simulation.ts';
import {
  DEVICE,
  FixedPolicy,
  PLAIN_TRAITS,
  quietScenario,
  slicesOf,
  visit,
  wholeModel,
} from './fixed-policy.ts';

function simulate(memoryBytes: number, slices = [wholeModel(CARD)], traits: Partial<PolicyTraits> = {}) {
  const scenario = quietScenario({
    visits: () => slices.map(() => visit({ kind: { ...DEVICE, memoryBytes } })),
    lengths: { ...quietScenario().lengths, answer: { mean: 200, deviation: 0 } },
  });
  const policy = new FixedPolicy(slices, { ...PLAIN_TRAITS, ...traits });
  const simulation = new Simulation({ scenario, policy: () => policy, requestsPerSecond: 2, seed: 7 });
  simulation.run();
  const peers = [...simulation.peers.values()];
  return { outcome: outcomeOf(simulation, scenario), peers };
}

describe('the cache of a stage', () => {
  const layers = CARD.layerCount / 3;

  test('is no larger than what the engine allocates, however much memory there is', () => {
    const { peers } = simulate(100e9, slicesOf(CARD, 3), { cacheRoom: 'stage' });
    expect(peers.map(({ capacityTokenLayers }) => capacityTokenLayers)).toEqual(
      [0, 1, 2].map(() => 65_536 * layers),
    );
  });

  test('is what the weights leave where that is less, in whole blocks', () => {
    const bytesPerToken = layers * CARD.cacheBytesPerTokenPerLayer;
    const memoryBytes = layers * CARD.bytesPerLayer + CARD.embeddingBytes + 5000 * bytesPerToken;
    const { peers } = simulate(memoryBytes + 300e6, slicesOf(CARD, 3), { cacheRoom: 'stage' });
    const tokens = Math.floor((5000 + 300e6 / bytesPerToken) / 16) * 16;
    expect(peers[0]?.capacityTokenLayers).toBe(tokens * layers);
  });

  test('of others is a share of what is free, without a limit', () => {
    const { peers } = simulate(100e9, slicesOf(CARD, 3), { cacheRoom: { share: 0.5 } });
    const free = 100e9 - layers * CARD.bytesPerLayer;
    expect(peers[1]?.capacityTokenLayers).toBe(Math.floor((0.5 * free) / CARD.cacheBytesPerTokenPerLayer));
  });
});

test('a stage opens no more requests than it may; who is turned away asks again and is answered', () => {
  const retry = { attempts: Infinity, firstSeconds: 0.5, longestSeconds: 1 };
  const few = simulate(100e9, undefined, { maxOpenRequests: 4, retry });
  const many = simulate(100e9, undefined, { retry });
  expect(few.outcome.answered).toBe(few.outcome.requests);
  expect(few.outcome.losses).toBe(0);
  // Four at a time are far fewer than a step could take.
  expect(few.outcome.tokensPerSecond).toBeLessThan(0.75 * many.outcome.tokensPerSecond);
});
