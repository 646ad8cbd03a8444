import { describe, expect, it } from 'vitest';
import { FIRST_ATTEMPT } from '../../../../src/client/retry.ts';
import { SkeinError } from '../../../../src/protocol/errors.ts';
import type { PeerId, RequestId } from '../../../../src/protocol/ids.ts';
import {
  BALANCE_QUALITY,
  bestStart,
  blockCount,
  petals,
  petalsRetry,
  shouldMove,
  throughputs,
} from '../../../sim/policies/petals.ts';
import type { Span } from '../../../sim/policies/petals.ts';
import type { Policy } from '../../../sim/policy.ts';
import { Random } from '../../../sim/random.ts';
import { QWEN_3B_INT4 } from '../../../sim/scenarios/models.ts';
import { Simulation } from '../../../sim/simulation.ts';
import { card, peerId } from '../../signaling/scheduler/instances.ts';
import { DEVICE, NEAR, quietScenario, visit } from '../fixed-policy.ts';

const BLOCKS = 8;
const model = card({ layerCount: BLOCKS, bytesPerLayer: 1000, cacheBytesPerTokenPerLayer: 1 });

function span(index: number, start: number, length: number, throughput = 1): Span {
  return { peer: peerId(index), start, length, throughput };
}

function capability(blocks: number) {
  const memoryBytes = blocks * (1000 + 16_384) + 10;
  return { memoryBytes, matvecBytesPerSecond: 1e6, matmulFlopsPerSecond: 1e6, adapter: 'test' };
}

function uniform(): () => number {
  const stream = new Random('petals');
  return () => stream.next();
}

describe("Petals' choice of blocks", () => {
  it('takes the blocks with the least throughput, and the first of equal places', () => {
    const sums = throughputs([span(0, 0, 8, 3), span(1, 2, 3, 2)], BLOCKS);
    expect(sums).toEqual([3, 3, 5, 5, 5, 3, 3, 3]);
    expect(bestStart(sums, 3)).toBe(5);
    expect(bestStart(sums, 2)).toBe(0);
    // Every place has a block of 1: what comes next decides.
    expect(bestStart([1, 9, 1, 2, 1], 2)).toBe(2);
  });

  it('fills memory with blocks and their cache, up to the whole model', () => {
    expect(blockCount(model, capability(3))).toBe(3);
    expect(blockCount(model, capability(30))).toBe(BLOCKS);
  });
});

describe("Petals' rebalancing", () => {
  it('moves a server when the slowest block would be faster by a third and more', () => {
    // Three on the first half, one on the second: two on each is twice as fast.
    const spans = [span(0, 0, 4), span(1, 0, 4), span(2, 0, 4), span(3, 4, 4)];
    expect(shouldMove(spans, peerId(0), BLOCKS, uniform())).toBe(true);
  });

  it('stays where the gain is below the threshold', () => {
    const gain = (share: number) => {
      // The second half has `share` of what it would have after a move.
      const spans = [span(0, 0, 4, 10), span(1, 4, 4, 10 * share), span(2, 0, 4, 10 * (1 - share))];
      return shouldMove(spans, peerId(2), BLOCKS, uniform());
    };
    expect(gain(BALANCE_QUALITY - 0.05)).toBe(true);
    expect(gain(BALANCE_QUALITY + 0.05)).toBe(false);
  });

  it('never moves the only server of a block', () => {
    const spans = [span(0, 0, 4), span(1, 4, 4), span(2, 4, 4), span(3, 4, 4)];
    expect(shouldMove(spans, peerId(0), BLOCKS, uniform())).toBe(false);
  });
});

describe('petals', () => {
  function swarm(pingSeconds: (from: PeerId, to: PeerId) => number = () => 0.01): Policy {
    return petals({ card: model, random: uniform(), pingSeconds });
  }

  function join(policy: Policy, index: number, blocks: number, bytesPerSecond = 1e9) {
    const peer = peerId(index);
    const claim = capability(blocks);
    const commands = policy.handle(
      { type: 'join', peer, claim, bytesPerSecond, cached: [], serverRttSeconds: 0.01 },
      0,
    );
    for (const command of commands) {
      if (command.type === 'assign' && command.slice !== null) {
        policy.handle({ type: 'serving', peer, slice: command.slice }, 0);
      }
    }
    return commands;
  }

  function ask(policy: Policy, exclude: PeerId[] = [], nowSeconds = 0, requester = peerId(99)) {
    return policy.handle(
      {
        type: 'request',
        requestId: 'request' as RequestId,
        requester,
        promptTokens: 10,
        maxTokens: 10,
        attempt: 0,
        exclude,
        previous: [],
      },
      nowSeconds,
    );
  }

  it('lets each newcomer choose the emptiest blocks', () => {
    const policy = swarm();
    expect(join(policy, 0, 4)).toMatchObject([{ slice: { layerStart: 0, layerEnd: 4 } }]);
    expect(join(policy, 1, 4)).toMatchObject([{ slice: { layerStart: 4, layerEnd: 8 } }]);
    expect(join(policy, 2, 6)).toMatchObject([{ slice: { layerStart: 0, layerEnd: 6 } }]);
  });

  it('counts a server no higher than its connection lets it send', () => {
    // The first could compute the most, but sends the least; its blocks are the emptiest.
    const policy = swarm();
    join(policy, 0, 4, 100);
    join(policy, 1, 4);
    expect(join(policy, 2, 4)).toMatchObject([{ slice: { layerStart: 0, layerEnd: 4 } }]);
    expect(join(policy, 3, 4, 100)).toMatchObject([{ slice: { layerStart: 4, layerEnd: 8 } }]);
  });

  it('enters a server in the middle of its blocks and goes on to their end', () => {
    const policy = swarm();
    join(policy, 0, 4);
    join(policy, 1, 4);
    join(policy, 2, 6);
    expect(ask(policy, [peerId(0)])).toEqual([
      {
        type: 'route',
        requestId: 'request',
        hops: [
          { peer: peerId(2), layerStart: 0, layerEnd: 6 },
          { peer: peerId(1), layerStart: 6, layerEnd: 8 },
        ],
      },
    ]);
  });

  it('prefers near servers', () => {
    const policy = swarm((from, to) => ([from, to].includes(peerId(0)) ? 0.5 : 0.01));
    join(policy, 0, 8);
    join(policy, 1, 8);
    expect(ask(policy)).toMatchObject([{ hops: [{ peer: peerId(1) }] }]);
  });

  it('routes a client around a server that failed it, for 15 s and then for 30', () => {
    const policy = swarm((from, to) => ([from, to].includes(peerId(1)) ? 0.5 : 0.01));
    join(policy, 0, 8);
    join(policy, 1, 8);
    const servers = (exclude: number[], nowSeconds: number, client = 99) =>
      ask(policy, exclude.map(peerId), nowSeconds, peerId(client)).flatMap((command) =>
        command.type === 'route' ? command.hops.map(({ peer }) => peer) : [],
      );
    expect(servers([], 0)).toEqual([peerId(0)]);
    expect(servers([0], 100)).toEqual([peerId(1)]);
    // What happened to one client another does not know.
    expect(servers([], 100, 98)).toEqual([peerId(0)]);
    expect(servers([], 114.9)).toEqual([peerId(1)]);
    expect(servers([], 115)).toEqual([peerId(0)]);
    expect(servers([0], 200)).toEqual([peerId(1)]);
    expect(servers([], 229.9)).toEqual([peerId(1)]);
    expect(servers([], 230)).toEqual([peerId(0)]);
    // Where everybody failed it, it tries anybody.
    expect(servers([0, 1], 300)).toEqual([peerId(0)]);
  });

  it('asks again at once, then after a second, two, four, up to a minute', () => {
    let state = FIRST_ATTEMPT;
    const delays = Array.from({ length: 9 }, () => {
      const next = petalsRetry(
        state,
        new SkeinError('busy', 'No room.', { data: { peer: peerId(3) } }),
        null,
      );
      state = next?.state ?? FIRST_ATTEMPT;
      return next?.delayMs;
    });
    expect(delays).toEqual([0, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
    expect(state.exclude).toEqual([peerId(3)]);
    expect(petalsRetry(state, new SkeinError('no-route', 'Nobody.'), null)?.state.exclude).toEqual([]);
  });

  it('turns clients away while a block is held by nobody', () => {
    const policy = swarm();
    join(policy, 0, 4);
    expect(ask(policy)).toMatchObject([{ type: 'refuse', reason: 'no-route' }]);
    join(policy, 1, 4);
    policy.handle({ type: 'lost', peer: peerId(0) }, 0);
    expect(ask(policy)).toMatchObject([{ type: 'refuse', reason: 'no-route' }]);
  });

  it('moves servers over when it has become lopsided, at its next check', () => {
    const policy = swarm();
    for (const index of [0, 1, 2, 3, 4, 5]) join(policy, index, 4);
    // Joined in turns: 0, 2, 4 have the first half. Two of the second leave.
    for (const index of [1, 3]) policy.handle({ type: 'lost', peer: peerId(index) }, 0);
    const moves = Array.from({ length: 300 }, (_, second) => policy.handle({ type: 'tick' }, second)).flat();
    expect(moves).toHaveLength(1);
    expect(moves).toMatchObject([{ type: 'assign', slice: { layerStart: 4, layerEnd: 8 } }]);
  });
});

describe('a swarm with full caches', () => {
  it('spreads a burst over replicas at once: who finds no room goes elsewhere and waits for nobody', () => {
    const far = { ...NEAR, accessSeconds: 0.02 };
    const kind = { ...DEVICE, memoryBytes: 3e9 };
    const scenario = quietScenario({
      visits: () => [visit({ kind }), visit({ kind, site: far }), visit({ kind, site: far })],
      lengths: { ...quietScenario().lengths, answer: { mean: 30, deviation: 0 } },
      windowSeconds: 1,
    });
    const simulation = new Simulation({ scenario, policy: petals, requestsPerSecond: 20, seed: 3 });
    simulation.run();
    const [near, ...others] = [...simulation.peers.values()];
    expect(simulation.requests.length).toBeGreaterThan(24);
    // Prompt and longest answer, in whole blocks.
    const room = Math.floor((near?.capacityTokenLayers ?? 0) / QWEN_3B_INT4.layerCount / (16 * 263));
    expect(room).toBe(7);
    for (const peer of [near, ...others]) expect(peer?.peakCacheShare).toBeGreaterThan(0.9);
    const waits = simulation.requests.map(({ firstTokenAt, arrivedAt }) => firstTokenAt - arrivedAt);
    // No answer is over by then: they were begun as fast as prompts can be computed one by one.
    expect(waits.filter((seconds) => seconds < 3)).toHaveLength(3 * room);
    expect(waits.every((seconds) => seconds < 60)).toBe(true);
  });
});
