import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ModelId, PeerId } from '../../../../src/protocol/ids.ts';
import { fits } from '../../../../signaling/scheduler/cost.ts';
import { ONE_REGION } from '../../../../signaling/scheduler/network.ts';
import { place } from '../../../../signaling/scheduler/placement.ts';
import { isWhole } from '../../../../signaling/scheduler/reach.ts';
import { rebalance } from '../../../../signaling/scheduler/rebalance.ts';
import type { Assignment, PlacementInput } from '../../../../signaling/scheduler/types.ts';
import { card, currentOf, MODEL, node, nodeForLayers, placementInputs, slice } from './instances.ts';

const [A, B, C, D] = [nodeForLayers(0, 8), nodeForLayers(1, 8), nodeForLayers(2, 8), nodeForLayers(3, 8)];

function inputOf(
  nodes: PlacementInput['nodes'],
  wishes: ReadonlyMap<PeerId, Assignment>,
  current: ReadonlyMap<PeerId, Assignment> = new Map(),
): PlacementInput {
  return { models: [card()], nodes, current, stages: 'auto', network: ONE_REGION, wishes };
}

describe('place with wishes', () => {
  it('gives each what it wishes for, and the others what is left', () => {
    const wishes = currentOf([B, slice(2, 5)]);
    const { assignments, missing, why } = place(inputOf([A, B, C], wishes));
    expect(missing.size).toBe(0);
    expect(assignments.get(B.peer)).toEqual(slice(2, 5));
    expect([assignments.get(A.peer), assignments.get(C.peer)]).toEqual([slice(0, 2), slice(5, 8)]);
    expect(why.find((line) => line.startsWith(B.peer))).toContain('as its owner wishes');
  });

  it('takes a wish before what a peer holds', () => {
    const { assignments } = place(inputOf([A], currentOf([A, slice(3, 8)]), currentOf([A, slice(0, 8)])));
    expect(assignments.get(A.peer)).toEqual(slice(3, 8));
  });

  it('moves others, and never who has a wish, to make a model whole', () => {
    const wishes = currentOf([A, slice(4, 8)]);
    const { assignments, missing } = place(inputOf([A, B], wishes, currentOf([B, slice(4, 8)])));
    expect(missing.size).toBe(0);
    expect([assignments.get(A.peer), assignments.get(B.peer)]).toEqual([slice(4, 8), slice(0, 4)]);
    const alone = place(inputOf([A], wishes));
    expect(alone.assignments.get(A.peer)).toEqual(slice(4, 8));
    expect(alone.missing.get(MODEL)).toBe(
      'layers 0–3 are held by nobody; waiting for peers that lend 1 MiB for them',
    );
  });

  it('takes nobody with a wish from one model for another', () => {
    const other = card({ id: 'other' as ModelId });
    const wishes = new Map([
      [A.peer, slice(0, 8)],
      [B.peer, slice(0, 8)],
    ]);
    const placement = place({ ...inputOf([A, B], wishes), models: [card(), other] });
    expect([...placement.assignments.values()]).toEqual([slice(0, 8), slice(0, 8)]);
    expect([...placement.missing.keys()]).toEqual(['other']);
  });

  it('places newcomers beside a wish that no route leads over, before they copy what is whole', () => {
    const wishes = currentOf([B, slice(3, 8)]);
    const current = currentOf([A, slice(0, 8)], [B, slice(3, 8)]);
    expect(place(inputOf([A, B], wishes, current)).assignments.get(A.peer)).toEqual(slice(0, 8));
    const { assignments } = place(inputOf([A, B, C, D], wishes, current));
    expect(assignments.get(C.peer)).toEqual(slice(0, 3));
    expect(assignments.get(A.peer)).toEqual(slice(0, 8));
    expect(assignments.get(D.peer)).toBeDefined();
  });

  it('gives nothing to a peer whose wish does not fit it any more', () => {
    const small = nodeForLayers(4, 2);
    const { assignments } = place(inputOf([A, small], currentOf([small, slice(0, 4)])));
    expect(assignments.has(small.peer)).toBe(false);
    expect(assignments.get(A.peer)).toEqual(slice(0, 8));
  });

  it('keeps every wish that fits, settles, and holds all layers where the others could alone', () => {
    let [wished, whole] = [0, 0];
    fc.assert(
      fc.property(placementInputs, fc.nat(6), (arbitrary, count) => {
        const input = withWishes(arbitrary, count);
        const [model] = input.models;
        if (model === undefined || input.wishes === undefined) return;
        const { assignments, missing } = place(input);
        for (const { peer, capability } of input.nodes) {
          const wish = input.wishes.get(peer);
          if (wish === undefined) continue;
          const canHave = wish.layerEnd <= model.layerCount && fits(model, capability.memoryBytes, wish);
          expect(assignments.get(peer)).toEqual(canHave ? wish : undefined);
          wished += canHave ? 1 : 0;
        }
        expect(missing.size === 0).toBe(isWhole(model.layerCount, [...assignments.values()]));
        expect([...place({ ...input, current: assignments }).assignments]).toEqual([...assignments]);
        const others = input.nodes.filter(({ peer }) => input.wishes?.has(peer) !== true);
        const alone = { ...input, nodes: others, wishes: new Map() };
        if (input.stages === 'auto' && place(alone).missing.size === 0) {
          expect(missing.size).toBe(0);
          whole += 1;
        }
      }),
      { numRuns: 500 },
    );
    expect(wished).toBeGreaterThan(50);
    expect(whole).toBeGreaterThan(20);
  });

  it('is what it is without them where nobody has one', () => {
    fc.assert(
      fc.property(placementInputs, (input) => {
        expect(place({ ...input, wishes: new Map() })).toEqual(place(input));
      }),
    );
  });
});

describe('rebalance with wishes', () => {
  it('leaves who has a wish where it is, and moves the others', () => {
    const slow = { matvecBytesPerSecond: 10, matmulFlopsPerSecond: 1e4, memoryBytes: 1e9 };
    const [fast, second, other, last] = [node(0), node(1), node(2, slow), node(3, slow)];
    const current = currentOf(
      [fast, slice(0, 1)],
      [second, slice(0, 1)],
      [other, slice(1, 8)],
      [last, slice(1, 8)],
    );
    const busyShares = new Map([...current.keys()].map((peer) => [peer, 0.5]));
    const input = { ...inputOf([fast, second, other, last], new Map(), current), busyShares };
    const free = rebalance(input);
    const moved = [fast, second].filter(({ peer }) => free?.assignments.get(peer)?.layerEnd !== 1);
    expect(moved.length).toBeGreaterThan(0);
    const wishes = currentOf([fast, slice(0, 1)], [second, slice(0, 1)]);
    const held = rebalance({ ...input, wishes });
    for (const { peer } of [fast, second]) {
      expect(held?.assignments.get(peer) ?? slice(0, 1)).toEqual(slice(0, 1));
    }
  });

  it('never moves who has a wish, whatever the mesh', () => {
    let moved = 0;
    fc.assert(
      fc.property(placementInputs, fc.nat(3), (arbitrary, count) => {
        const input = withWishes(arbitrary, count);
        const { assignments } = place(input);
        const busyShares = new Map([...assignments.keys()].map((peer, index) => [peer, index === 0 ? 1 : 0]));
        const next = rebalance({ ...input, current: assignments, busyShares, isServed: false });
        if (next === null) return;
        moved += 1;
        for (const peer of input.wishes?.keys() ?? []) {
          expect(next.assignments.get(peer)).toEqual(assignments.get(peer));
        }
      }),
      { numRuns: 1000 },
    );
    expect(moved).toBeGreaterThan(0);
  });
});

/** The first few of what is held become wishes. */
function withWishes(input: PlacementInput, count: number): PlacementInput {
  const peers = new Set(input.nodes.map(({ peer }) => peer));
  const wishes = [...input.current].filter(([peer]) => peers.has(peer)).slice(0, count);
  return { ...input, wishes: new Map(wishes) };
}
