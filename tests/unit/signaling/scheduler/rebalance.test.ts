import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bestChain } from '../../../../signaling/scheduler/chain.ts';
import { place } from '../../../../signaling/scheduler/placement.ts';
import { predict, placementScore } from '../../../../signaling/scheduler/predict.ts';
import { ONE_REGION } from '../../../../signaling/scheduler/network.ts';
import { rebalance } from '../../../../signaling/scheduler/rebalance.ts';
import type { Assignment, PlacementInput, RebalanceInput } from '../../../../signaling/scheduler/types.ts';
import { card, cards, currentOf, neededBytes, node, nodeForLayers, nodeLists, slice } from './instances.ts';

type Node = PlacementInput['nodes'][number];

/** Far more than any case takes. */
const MAX_ROUNDS = 100;

const inputs: fc.Arbitrary<RebalanceInput> = fc
  .record({
    model: cards,
    nodes: nodeLists,
    before: nodeLists,
    shares: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 7, maxLength: 7 }),
  })
  .map(({ model, nodes, before, shares }) => {
    // What peers hold is what was right for a mesh of which some have left and others have come since.
    const old = before.map((other, index) => nodes[index] ?? other);
    const base = { models: [model], stages: 'auto' as const, network: ONE_REGION };
    const held = place({ ...base, nodes: old.slice(0, 3), current: new Map() }).assignments;
    const current = place({ ...base, nodes, current: held }).assignments;
    const busyShares = new Map(nodes.map(({ peer }, index) => [peer, shares[index] ?? 0]));
    return { ...base, nodes, current, busyShares };
  });

describe('rebalance', () => {
  it('comes to an end, with a score that is no worse, and never uncovers a layer on the way', () => {
    let moved = 0;
    fc.assert(
      fc.property(inputs, (input) => {
        let current = input.current;
        let rounds = 0;
        for (let next = rebalance(input); next !== null; next = rebalance({ ...input, current })) {
          rounds += 1;
          expect(rounds).toBeLessThan(MAX_ROUNDS);
          const changed = [...next.assignments].filter(([peer, to]) => current.get(peer) !== to);
          expect(changed.length).toBeGreaterThan(0);
          expect(next.why).toHaveLength(changed.length);
          const moving = new Set(changed.map(([peer]) => peer));
          expect(gapsOf(input, new Map([...current].filter(([peer]) => !moving.has(peer))))).toEqual([]);
          expectToFit(input, next.assignments);
          // What was moved stays, and whoever was idle may find something to copy.
          current = place({ ...input, current: next.assignments }).assignments;
          for (const [peer, assignment] of next.assignments) expect(current.get(peer)).toEqual(assignment);
        }
        moved += rounds > 0 ? 1 : 0;
        expect(scoreOf(input, current)).toBeGreaterThanOrEqual(scoreOf(input, input.current));
      }),
      { numRuns: 300 },
    );
    expect(moved).toBeGreaterThan(0);
  });

  it('keeps the cuts of a fixed number of stages, so that every route has as many', () => {
    let moved = 0;
    fc.assert(
      fc.property(inputs, (free) => {
        const fixed = { ...free, stages: 3, current: new Map() };
        const held = place({ ...fixed, nodes: free.nodes.slice(0, 3) }).assignments;
        const input = { ...fixed, current: place({ ...fixed, current: held }).assignments };
        const cuts = cutsOf(input.current);
        const next = rebalance(input);
        if (next === null) return;
        moved += 1;
        expect(cuts).toEqual(expect.arrayContaining([...cutsOf(next.assignments)]));
      }),
      { numRuns: 300 },
    );
    expect(moved).toBeGreaterThan(0);
  });

  it('moves a copy of the fast stage to the slow one', () => {
    const [a, b, c, d] = [0, 1, 2, 3].map((index) => nodeForLayers(index, 4)) as [Node, Node, Node, Node];
    const nodes = [a, b, c, d];
    const current = currentOf([a, slice(0, 4)], [b, slice(0, 4)], [c, slice(0, 4)], [d, slice(4, 8)]);
    const next = rebalance(inputOf(nodes, current));
    const starts = [...(next?.assignments.values() ?? [])].map(({ layerStart }) => layerStart);
    expect(starts.sort()).toEqual([0, 0, 4, 4]);
    expect(next?.why).toHaveLength(1);
    expect(next?.why[0]).toMatch(
      /moves from layers 0–3 of model to layers 4–7 of model: .* tokens\/s after it/,
    );
  });

  it('finds work for a peer whose neighbours have gone', () => {
    const nodes = [nodeForLayers(0, 4), nodeForLayers(1, 4), nodeForLayers(2, 2)] as const;
    const current = currentOf([nodes[0], slice(0, 4)], [nodes[1], slice(4, 8)], [nodes[2], slice(3, 5)]);
    const small = [nodeForLayers(3, 2), nodeForLayers(4, 2)] as const;
    const halves = currentOf([small[0], slice(0, 2)], [small[1], slice(2, 4)]);
    const next = rebalance(inputOf([...nodes, ...small], new Map([...current, ...halves])));
    expect(next?.assignments.get(nodes[2].peer)).toEqual(slice(0, 2));
    expect(next?.why).toHaveLength(1);
    expect(rebalance(inputOf(nodes, current))).toBeNull();
  });

  it('leaves alone who loads', () => {
    const nodes = [0, 1, 2, 3].map((index) => nodeForLayers(index, 4)) as [Node, Node, Node, Node];
    const held = nodes.map((each, index) => [each, index < 3 ? slice(0, 4) : slice(4, 8)] as const);
    const input = inputOf(nodes, currentOf(...held));
    expect(rebalance(input)).not.toBeNull();
    expect(rebalance({ ...input, busyShares: new Map() })).toBeNull();
  });

  it('leaves alone what is balanced, and what nobody can better without a hole', () => {
    const nodes = [nodeForLayers(0, 4), nodeForLayers(1, 4)] as const;
    const balanced = currentOf([nodes[0], slice(0, 4)], [nodes[1], slice(4, 8)]);
    expect(rebalance(inputOf(nodes, balanced))).toBeNull();
    const [fast, slow] = [node(0, { matvecBytesPerSecond: 1e5 }), node(1)];
    const uneven = currentOf([fast, slice(0, 2)], [slow, slice(2, 8)]);
    expect(rebalance(inputOf([fast, slow], uneven))).toBeNull();
  });
});

function inputOf(
  nodes: PlacementInput['nodes'],
  current: PlacementInput['current'],
  shares: readonly number[] = [],
): RebalanceInput {
  const busyShares = new Map(nodes.map(({ peer }, index) => [peer, shares[index] ?? 1]));
  return { models: [card()], nodes, current, stages: 'auto', network: ONE_REGION, busyShares };
}

function cutsOf(assignments: ReadonlyMap<string, Assignment>): readonly string[] {
  return [
    ...new Set(Array.from(assignments.values(), ({ layerStart, layerEnd }) => `${layerStart}–${layerEnd}`)),
  ];
}

function modelOf({ models }: PlacementInput) {
  return models[0] ?? card();
}

function gapsOf(input: PlacementInput, held: ReadonlyMap<string, Assignment>) {
  return bestChain(modelOf(input).layerCount, [...held.values()]).gaps;
}

function expectToFit(input: PlacementInput, held: PlacementInput['current']): void {
  for (const { peer, capability } of input.nodes) {
    const assignment = held.get(peer);
    if (assignment === undefined) continue;
    expect(neededBytes(modelOf(input), assignment)).toBeLessThanOrEqual(capability.memoryBytes);
  }
}

function scoreOf(input: PlacementInput, held: PlacementInput['current']): number {
  const slices = input.nodes.flatMap((holder) => {
    const assignment = held.get(holder.peer);
    return assignment === undefined ? [] : [{ node: holder, ...assignment }];
  });
  return placementScore(predict(modelOf(input), slices, input.network));
}
