import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bestChain } from '../../../../signaling/scheduler/chain.ts';
import { fits, sliceRate } from '../../../../signaling/scheduler/cost.ts';
import { place } from '../../../../signaling/scheduler/placement.ts';
import { predict } from '../../../../signaling/scheduler/predict.ts';
import type { Network, Placement, SchedulerNode } from '../../../../signaling/scheduler/types.ts';
import type { PeerId } from '../../../../src/protocol/ids.ts';
import { leastCutOf } from './brute-force.ts';
import { card, cards, node, nodeLists, slice } from './instances.ts';
import { canHold, FEWEST_OF_MANY, heldSlices, qualityOf, randomInstance, seededRandom } from './quality.ts';

type Model = ReturnType<typeof card>;

const MOST_LAYERS = 8;
/** What the bench shows of a thousand instances, for a hundred. */
const LEAST_MEAN_RATIO = 0.95;
const TRYING_ALL_MS = 60_000;

const network: Network = {
  regionRttSeconds: [
    [0.01, 0.1],
    [0.1, 0.01],
  ],
  links: new Map(),
};

/** With so few layers that trying all is quick. */
const smallCards = cards.filter(({ layerCount }) => layerCount <= MOST_LAYERS);

/** Peers of two regions. */
const regionalNodes = fc
  .tuple(nodeLists, fc.array(fc.nat(1), { minLength: 7, maxLength: 7 }))
  .map(([nodes, regions]) => nodes.map((each, index) => ({ ...each, region: regions[index] ?? 0 })));

function placeOn(model: Model, nodes: readonly SchedulerNode[], before?: Placement): Placement {
  return place({
    models: [model],
    nodes,
    current: before?.assignments ?? new Map(),
    stages: 'auto',
    network,
  });
}

/** Reckoned apart from the code under test, by trying all cuts; NaN where somebody holds more than fits. */
function flowOf(model: Model, nodes: readonly SchedulerNode[], { assignments }: Placement): number {
  const held = heldSlices(model, nodes, assignments);
  return held === null ? NaN : leastCutOf(model, held);
}

function rateOf(model: Model, placement: Placement): number {
  return placement.predicted.get(model.id)?.tokensPerSecond ?? NaN;
}

describe('place', () => {
  it.each([
    { of: 'few peers', fewestNodes: 1, instances: 100, seed: 2 },
    { of: 'more than everything is tried for', fewestNodes: FEWEST_OF_MANY, instances: 40, seed: 3 },
  ])(
    'comes near the best of all placements, and places whatever can be placed: $of',
    ({ fewestNodes, instances, seed }) => {
      const random = seededRandom(seed);
      const ratios: number[] = [];
      for (let run = 0; run < instances; run += 1) {
        const { ratio, isRight } = qualityOf(randomInstance(random, fewestNodes));
        expect(isRight).toBe(true);
        if (ratio !== null) ratios.push(ratio);
      }
      expect(ratios.length).toBeGreaterThan(instances / 3);
      expect(Math.max(...ratios)).toBeLessThanOrEqual(1 + 1e-9);
      expect(ratios.reduce((sum, ratio) => sum + ratio, 0) / ratios.length).toBeGreaterThan(LEAST_MEAN_RATIO);
    },
    TRYING_ALL_MS,
  );

  it('makes no less when somebody joins', () => {
    fc.assert(
      fc.property(smallCards, regionalNodes, nodeLists, (model, nodes, others) => {
        const before = placeOn(model, nodes);
        const newcomers = others.map(({ capability }, index) => node(100 + index, capability));
        const all = [...nodes, ...newcomers];
        const after = placeOn(model, all, before);
        const flowBefore = flowOf(model, nodes, before);
        expect(flowOf(model, all, after)).toBeGreaterThanOrEqual(flowBefore * (1 - 1e-9));
        expect(rateOf(model, before)).toBeCloseTo(flowBefore, 9);
      }),
      { numRuns: 300 },
    );
  });

  it('leaves a model whole when somebody leaves, whenever those who stay can hold it', () => {
    fc.assert(
      fc.property(smallCards, regionalNodes, fc.nat(), (model, nodes, index) => {
        fc.pre(nodes.length > 1);
        const before = placeOn(model, nodes);
        const left = nodes.filter((_, other) => other !== index % nodes.length);
        const after = placeOn(model, left, before);
        const isPossible = canHold(model, left);
        expect(after.missing.size === 0).toBe(isPossible);
        expect(flowOf(model, left, after) > 0).toBe(isPossible);
      }),
      { numRuns: 300 },
    );
  });

  it('leaves nobody idle who could hold a copy of anything of use', () => {
    fc.assert(
      fc.property(cards, regionalNodes, (model, nodes) => {
        const { assignments, missing } = placeOn(model, nodes);
        fc.pre(missing.size === 0);
        for (const idle of nodes.filter(({ peer }) => !assignments.has(peer))) {
          const possible = [...assignments.values()].filter((held) =>
            fits(model, idle.capability.memoryBytes, held),
          );
          expect(possible).toEqual([]);
        }
      }),
    );
  });

  it('predicts what flows, and how long the best chain takes', () => {
    const [fast, slow] = [node(0, { matvecBytesPerSecond: 2000 }), node(1)] as const;
    const model = card();
    const [whole, front, back] = [slice(0, 8), slice(0, 4), slice(4, 8)];
    const rate = (holder: SchedulerNode, range: typeof whole) => sliceRate(model, holder.capability, range);
    const of = (...slices: readonly (readonly [SchedulerNode, typeof whole])[]) =>
      predict(
        model,
        slices.map(([holder, range]) => ({ node: holder, ...range })),
        network,
      );

    expect(of([fast, whole]).tokensPerSecond).toBe(rate(fast, whole));
    expect(of([fast, front], [slow, back]).tokensPerSecond).toBe(rate(slow, back));
    expect(of([fast, front], [slow, back], [node(2), back], [node(3), whole]).tokensPerSecond).toBeCloseTo(
      Math.min(rate(fast, front), 2 * rate(slow, back)) + rate(node(3), whole),
      9,
    );
    // A slice without neighbours adds nothing.
    expect(of([fast, whole], [slow, slice(2, 5)])).toEqual(of([fast, whole]));
    expect(of([fast, front])).toEqual({ tokensPerSecond: 0, secondsPerToken: Infinity });
    // Two hops of the ring, in one region and between two; half a round trip each.
    const near = of([fast, front], [slow, back]).secondsPerToken;
    const far = of([fast, front], [{ ...slow, region: 1 }, back]).secondsPerToken;
    expect(far - near).toBeCloseTo(0.1 - 0.01, 9);
    expect(near).toBeGreaterThan(of([fast, whole]).secondsPerToken);
  });

  it('says why, with what it predicts', () => {
    const nodes = [node(0), node(1)] as const;
    const [first] = nodes;
    const before = placeOn(card(), [first]);
    expect(before.why).toEqual([
      expect.stringMatching(/takes layers 0–7 of model: in a pipeline of 1 stage, [\d.e-]+ tokens\/s$/),
    ]);
    expect(placeOn(card(), nodes, before).why).toEqual([
      expect.stringMatching(/takes layers 0–7 of model: the slowest it can hold, [\d.e-]+ tokens\/s$/),
    ]);
  });

  it.each([
    [3, 'cached'],
    [100, 'quick'],
  ] as const)(
    'prefers who says that it still has the weights to one %s times as fast: %s',
    (times, expected) => {
      const current = new Map<PeerId, ReturnType<typeof slice>>([
        [node(0).peer, slice(0, 4)],
        [node(1).peer, slice(4, 8)],
      ]);
      const { matvecBytesPerSecond, matmulFlopsPerSecond } = node(2).capability;
      const quick = node(2, {
        matvecBytesPerSecond: times * matvecBytesPerSecond,
        matmulFlopsPerSecond: times * matmulFlopsPerSecond,
      });
      const cached = { ...node(3), cached: [slice(4, 8)] };
      const input = {
        models: [card()],
        nodes: [node(0), quick, cached],
        current,
        stages: 'auto' as const,
        network,
      };
      const chosen = { quick, cached }[expected];
      expect(place(input).assignments.get(chosen.peer)).toEqual(slice(4, 8));
      const chain = bestChain(8, [...place(input).assignments.values()]);
      expect(chain.gaps).toEqual([]);
    },
  );
});
