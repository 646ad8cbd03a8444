import { describe, expect, test } from 'vitest';
import { outcomeOf } from '../../sim/outcome.ts';
import { QWEN_3B_INT4 as CARD } from '../../sim/scenarios/models.ts';
import { Simulation } from '../../sim/simulation.ts';
import type { Scenario } from '../../sim/scenario.ts';
import type { PolicyEvent, PolicyTraits } from '../../sim/policy.ts';
import {
  DEVICE,
  FixedPolicy,
  PLAIN_TRAITS,
  quietScenario,
  slicesOf,
  visit,
  wholeModel,
} from './fixed-policy.ts';

function simulate(
  scenario: Scenario,
  requestsPerSecond: number,
  slices = [wholeModel(CARD)],
  traits: PolicyTraits = PLAIN_TRAITS,
): { readonly simulation: Simulation; readonly policy: FixedPolicy } {
  const policy = new FixedPolicy(slices, traits);
  const simulation = new Simulation({ scenario, policy: () => policy, requestsPerSecond, seed: 7 });
  simulation.run();
  return { simulation, policy };
}

/** Seconds of a step of one request on one device, written out again from the definition of the roofline. */
function plainStepSeconds(rows: number, cached: number, layers: number, withHead: boolean): number {
  const bytes =
    layers * CARD.bytesPerLayer +
    (withHead ? CARD.headBytes : 0) +
    (cached + rows) * layers * CARD.cacheBytesPerTokenPerLayer;
  const products = rows * layers * CARD.multiplyAddsPerLayer + (withHead ? CARD.headMultiplyAdds : 0);
  const pairs = rows * (cached + rows / 2) * layers;
  const flops = 2 * products + 4 * CARD.hiddenSize * pairs;
  return 0.004 + Math.max(bytes / 100e9, flops / 2e12);
}

function plainAnswerSeconds(promptTokens: number, answerTokens: number): number {
  const { layerCount } = CARD;
  let seconds = 0;
  for (let cached = 0; cached < promptTokens; cached += 64) {
    const rows = Math.min(64, promptTokens - cached);
    seconds += plainStepSeconds(rows, cached, layerCount, cached + rows === promptTokens);
  }
  for (let token = 1; token < answerTokens; token++) {
    seconds += plainStepSeconds(1, promptTokens + token - 1, layerCount, true);
  }
  return seconds;
}

describe('one device', () => {
  test('answers a request alone in the time that the roofline gives it', () => {
    const { simulation } = simulate(quietScenario(), 0.05);
    const [request] = simulation.requests;
    expect(request?.state).toBe('answered');
    expect((request?.endedAt ?? 0) - (request?.arrivedAt ?? 0)).toBeCloseTo(plainAnswerSeconds(100, 20), 9);
  });

  test('takes as many times longer as it is slowed down', () => {
    const slowdowns = [{ from: 10, until: 1000, slowness: 3 }];
    const { simulation } = simulate(quietScenario({ visits: () => [visit({ slowdowns })] }), 0.05);
    const [request] = simulation.requests;
    const seconds = (request?.endedAt ?? 0) - (request?.arrivedAt ?? 0);
    expect(seconds).toBeCloseTo(3 * plainAnswerSeconds(100, 20), 9);
  });

  test('saturated, gives the tokens that its batch allows', () => {
    const lengths = {
      ...quietScenario().lengths,
      prompt: { mean: 1, deviation: 0 },
      answer: { mean: 200, deviation: 0 },
    };
    const scenario = quietScenario({ lengths, rampSeconds: 30, windowSeconds: 30, drainSeconds: 0 });
    const { simulation } = simulate(scenario, 20);
    const { tokensPerSecond } = outcomeOf(simulation, scenario);
    const bytes =
      CARD.layerCount * CARD.bytesPerLayer +
      CARD.headBytes +
      32 * 100 * CARD.layerCount * CARD.cacheBytesPerTokenPerLayer;
    const flops =
      32 *
      (2 * CARD.layerCount * CARD.multiplyAddsPerLayer +
        2 * CARD.headMultiplyAdds +
        4 * CARD.hiddenSize * CARD.layerCount * 100);
    const stepSeconds = 0.004 + Math.max(bytes / 100e9, flops / 2e12);
    expect(tokensPerSecond / (32 / stepSeconds)).toBeGreaterThan(0.97);
    expect(tokensPerSecond / (32 / stepSeconds)).toBeLessThan(1.03);
  });

  test('serves twice as many as a step takes in turn', () => {
    const lengths = {
      ...quietScenario().lengths,
      prompt: { mean: 1, deviation: 0 },
      answer: { mean: 1000, deviation: 0 },
    };
    const scenario = quietScenario({ lengths, windowSeconds: 2, drainSeconds: 8 });
    const { simulation } = simulate(scenario, 35);
    const tokens = simulation.requests.map((request) => request.tokens);
    expect(tokens.length).toBeGreaterThan(50);
    expect(Math.min(...tokens)).toBeGreaterThan(0.5 * Math.max(...tokens));
  });

  test('keeps to Little’s law: requests inside are rate times time inside', () => {
    const scenario = quietScenario({ windowSeconds: 2000 });
    const { simulation } = simulate(scenario, 1);
    const stays = simulation.requests.map(({ arrivedAt, endedAt }) => endedAt - arrivedAt);
    const inside = Array.from({ length: 20_000 }, (_, index) => 20 + index / 10).map(
      (at) => simulation.requests.filter(({ arrivedAt, endedAt }) => arrivedAt <= at && at < endedAt).length,
    );
    const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
    const rate = simulation.requests.length / 2000;
    expect(mean(inside) / (rate * mean(stays))).toBeCloseTo(1, 1);
    // Poisson: the count's deviation is its root.
    expect(Math.abs(simulation.requests.length - 2000)).toBeLessThan(4 * Math.sqrt(2000));
  });
});

describe('a pipeline', () => {
  test('is as fast as its slowest stage', () => {
    const slow = { ...DEVICE, bytesPerSecond: DEVICE.bytesPerSecond / 4, flopsPerSecond: 0.5e12 };
    const lengths = {
      ...quietScenario().lengths,
      prompt: { mean: 1, deviation: 0 },
      answer: { mean: 200, deviation: 0 },
    };
    const scenario = quietScenario({
      lengths,
      rampSeconds: 30,
      windowSeconds: 30,
      drainSeconds: 0,
      visits: () => [visit(), visit({ kind: slow }), visit()],
    });
    const { simulation } = simulate(scenario, 20, slicesOf(CARD, 3));
    const idle = [...simulation.peers.values()].map(({ busySeconds }) => 1 - busySeconds / 30);
    expect(idle[1]).toBeLessThan(0.01);
    expect(idle[0]).toBeGreaterThan(0.3);
    expect(idle[2]).toBeGreaterThan(0.3);
  });

  test('takes the way of every hop and of the ring for each token', () => {
    const network = { ...quietScenario().network, regionRttSeconds: [[0.1]] };
    const near = simulate(quietScenario({ devices: 3 }), 0.05, slicesOf(CARD, 3));
    const far = simulate(quietScenario({ devices: 3, network }), 0.05, slicesOf(CARD, 3));
    const seconds = ({ simulation }: typeof near) =>
      (simulation.requests[0]?.endedAt ?? 0) - (simulation.requests[0]?.arrivedAt ?? 0);
    // To the server and back, to the first hop, two hops for each token, the ring between them, and the last token home.
    expect(seconds(far) - seconds(near)).toBeCloseTo(0.05 * (2 + 1 + 2 * 20 + 19 + 1), 6);
  });

  test.each(['as-it-grows', 'in-advance'] as const)(
    'with little cache, taken %s, answers everything and stays within it',
    (cacheUse) => {
      const memoryBytes = CARD.bytesPerLayer * 12 + CARD.headBytes + 40e6;
      const lengths = { ...quietScenario().lengths, answer: { mean: 200, deviation: 100 } };
      const scenario = quietScenario({
        lengths: { ...lengths, maxAnswerTokens: 500 },
        visits: () => [0, 1, 2].map(() => visit({ kind: { ...DEVICE, memoryBytes } })),
      });
      const retry = { attempts: Infinity, firstSeconds: 0.5, longestSeconds: 4 };
      const traits = { ...PLAIN_TRAITS, cacheUse, retry };
      const { simulation } = simulate(scenario, 1, slicesOf(CARD, 3), traits);
      const { answered, requests, preemptions, againShare, peakCacheShare } = outcomeOf(simulation, scenario);
      expect(answered).toBe(requests);
      expect(requests).toBeGreaterThan(50);
      expect(peakCacheShare).toBeGreaterThan(0.7);
      expect(peakCacheShare).toBeLessThanOrEqual(1);
      if (cacheUse === 'as-it-grows') expect(preemptions).toBeGreaterThan(0);
      else expect(preemptions).toBe(0);
      // Who lost its blocks is computed again.
      expect(againShare > 0).toBe(preemptions > 0);
    },
  );
});

describe('losses', () => {
  /** The second of three hops dies and nobody takes its place. */
  const dying = quietScenario({
    visits: () => [visit(), visit({ leavesAt: 60 }), visit()],
    lengths: { ...quietScenario().lengths, answer: { mean: 100, deviation: 0 } },
  });

  test('what was asked is answered, lost or refused, and nothing else', () => {
    const { simulation } = simulate(dying, 1, slicesOf(CARD, 3));
    const outcome = outcomeOf(simulation, dying);
    expect(outcome.answered).toBeGreaterThan(10);
    expect(outcome.lost).toBeGreaterThan(0);
    expect(outcome.refused).toBeGreaterThan(10);
    expect(outcome.unfinished).toBe(0);
    // Losing what is slow makes nobody fast.
    expect(outcome.latency.p99).toBe(Infinity);
    expect(outcome.answered + outcome.lost + outcome.refused).toBe(outcome.requests);
    const asked = simulation.requests.reduce((sum, { answerTokens }) => sum + answerTokens, 0);
    const given = simulation.requests.reduce((sum, { tokens }) => sum + tokens, 0);
    const missing = simulation.requests
      .filter(({ state }) => state !== 'answered')
      .reduce((sum, { answerTokens, tokens }) => sum + answerTokens - tokens, 0);
    expect(given + missing).toBe(asked);
    expect(simulation.meter.tokens).toBe(given);
  });

  test.each(['lost', 'restart', 'prefill-again', 'replay'] as const)(
    'leave nothing in the caches when all is over: %s',
    (afterLoss) => {
      const { simulation } = simulate(dying, 1, slicesOf(CARD, 3), { ...PLAIN_TRAITS, afterLoss });
      for (const peer of simulation.peers.values()) expect(peer.activeSequences).toBe(0);
    },
  );

  test('a policy is told of a death once, and of every end once', () => {
    const { simulation, policy } = simulate(dying, 1, slicesOf(CARD, 3));
    const lost = policy.events.filter(({ type }) => type === 'lost');
    const ended = policy.events.flatMap((event) => (event.type === 'ended' ? [event.requestId] : []));
    expect(lost).toHaveLength(1);
    expect(policy.lostAt).toEqual([60 + PLAIN_TRAITS.notice.closed.policy[0]]);
    expect(new Set(ended).size).toBe(ended.length);
    expect(new Set(ended)).toEqual(new Set(simulation.requests.map(({ id }) => id)));
  });

  /** It comes back, so that what was lost can go on. */
  const returning = quietScenario({
    visits: () => [visit({ leavesAt: 60.02 }), visit({ joinsAt: 61, returnOf: 0 })],
    lengths: { ...quietScenario().lengths, answer: { mean: 400, deviation: 0 } },
    drainSeconds: 100,
  });

  class Returning extends FixedPolicy {
    override handle(event: PolicyEvent, nowSeconds: number) {
      if (event.type === 'join' && this.events.some(({ type }) => type === 'join')) this.reset();
      return super.handle(event, nowSeconds);
    }
  }

  function lossesBy(afterLoss: PolicyTraits['afterLoss']) {
    const policy = new Returning([wholeModel(CARD)], { ...PLAIN_TRAITS, afterLoss });
    const simulation = new Simulation({
      scenario: returning,
      policy: () => policy,
      requestsPerSecond: 0.2,
      seed: 7,
    });
    simulation.run();
    const struck = simulation.requests.filter(({ losses }) => losses > 0);
    return { policy, struck, simulation };
  }

  test('cost a request what the system makes of them', () => {
    const lost = lossesBy('lost');
    const restarted = lossesBy('restart');
    const again = lossesBy('prefill-again');
    expect(again.struck.length).toBeGreaterThan(0);
    expect(lost.struck.every(({ state }) => state === 'lost')).toBe(true);
    expect(restarted.struck.every(({ state }) => state === 'answered')).toBe(true);
    expect(again.struck.every(({ state }) => state === 'answered')).toBe(true);
    const asked = again.policy.events.filter((event) => event.type === 'request' && event.attempt > 0);
    // Prompt and tokens so far are prefilled again; after a restart it is the prompt alone.
    expect(asked.some((event) => event.type === 'request' && event.promptTokens > 100)).toBe(true);
    const askedAnew = restarted.policy.events.flatMap((event) =>
      event.type === 'request' && event.attempt > 0 ? [event.promptTokens] : [],
    );
    expect(new Set(askedAnew)).toEqual(new Set([100]));
    // What is answered a second time does not count a second time.
    const answered = restarted.simulation.requests.reduce((sum, { answerTokens }) => sum + answerTokens, 0);
    expect(restarted.simulation.meter.tokens).toBe(answered);
    const first = again.struck[0];
    const sameRestarted = restarted.struck.find(({ id }) => id === first?.id);
    expect(first?.endedAt).toBeLessThan(sameRestarted?.endedAt ?? 0);
  });

  test('replay keeps what the other hops have', () => {
    const three = quietScenario({
      visits: () => [visit(), visit({ leavesAt: 60.02 }), visit(), visit({ joinsAt: 30 })],
      lengths: { ...quietScenario().lengths, answer: { mean: 400, deviation: 0 } },
    });
    const rowsBy = (afterLoss: PolicyTraits['afterLoss']) => {
      const policy = new SparePolicy(slicesOf(CARD, 3), { ...PLAIN_TRAITS, afterLoss });
      const simulation = new Simulation({
        scenario: three,
        policy: () => policy,
        requestsPerSecond: 0.2,
        seed: 7,
      });
      simulation.run();
      const outcome = outcomeOf(simulation, three);
      expect(outcome.answered).toBe(outcome.requests);
      expect(outcome.losses).toBeGreaterThan(0);
      return simulation.meter.rows;
    };
    expect(rowsBy('replay')).toBeLessThan(rowsBy('prefill-again'));
  });
});

/** Has a spare for the second slice, and uses it when the first dies. */
class SparePolicy extends FixedPolicy {
  #joined = 0;

  override handle(event: PolicyEvent, nowSeconds: number) {
    if (event.type === 'join' && this.#joined++ === 3) {
      this.spare = { peer: event.peer, ...(this.slices[1] ?? { layerStart: 0, layerEnd: 0 }) };
      return [{ type: 'assign' as const, peer: event.peer, slice: this.spare }];
    }
    if (event.type === 'lost') this.useSpare();
    return super.handle(event, nowSeconds);
  }
}

describe('the same seed', () => {
  test('gives the same run, another seed another', () => {
    const scenario = quietScenario({
      devices: 3,
      honesty: { measurementError: 0.2, liarShare: 0.3, lieFactor: 10 },
      network: { ...quietScenario().network, jitterSeconds: 0.01 },
    });
    const outcomes = [7, 7, 8].map((seed) => {
      const policy = new FixedPolicy(slicesOf(CARD, 3));
      const simulation = new Simulation({ scenario, policy: () => policy, requestsPerSecond: 1, seed });
      simulation.run();
      return JSON.stringify([outcomeOf(simulation, scenario), policy.events]);
    });
    expect(outcomes[0]).toBe(outcomes[1]);
    expect(outcomes[0]).not.toBe(outcomes[2]);
  });
});
