import * as fc from 'fast-check';
import { ONE_REGION } from '../../../../signaling/scheduler/network.ts';
import { describe, expect, it } from 'vitest';
import type { ModelId, PeerId } from '../../../../src/protocol/ids.ts';
import { bestChain } from '../../../../signaling/scheduler/chain.ts';
import { place } from '../../../../signaling/scheduler/placement.ts';
import type {
  Assignment,
  PlacementInput,
  SchedulerNode,
  StagePolicy,
} from '../../../../signaling/scheduler/types.ts';
import {
  card,
  cardLists,
  cards,
  currentOf,
  LAYER_BYTES,
  neededBytes,
  node,
  nodeForLayers,
  nodeLists,
  placementInputs,
  slice,
  stagePolicies,
} from './instances.ts';

function placeOn(
  nodes: readonly SchedulerNode[],
  {
    stages = 'auto',
    current = new Map(),
    model = card(),
  }: {
    stages?: StagePolicy;
    current?: ReadonlyMap<PeerId, Assignment>;
    model?: ReturnType<typeof card>;
  } = {},
) {
  return place({ models: [model], nodes, current, stages, network: ONE_REGION });
}

describe('place, whatever the input', () => {
  it('never gives a peer more than its memory holds, nor anything to a peer that is not there', () => {
    fc.assert(
      fc.property(placementInputs, (input) => {
        for (const [peer, assignment] of place(input).assignments) {
          const holder = input.nodes.find((candidate) => candidate.peer === peer);
          expect(holder).toBeDefined();
          expect(assignment.layerEnd).toBeGreaterThan(assignment.layerStart);
          expect(assignment.layerEnd).toBeLessThanOrEqual(cardOf(input).layerCount);
          expect(neededBytes(cardOf(input), assignment)).toBeLessThanOrEqual(
            holder?.capability.memoryBytes ?? 0,
          );
        }
      }),
    );
  });

  it('covers every layer exactly once along a pipeline, or says what is missing', () => {
    fc.assert(
      fc.property(placementInputs, (input) => {
        const { assignments, missing } = place(input);
        const { slices, gaps } = bestChain(cardOf(input).layerCount, [...assignments.values()]);
        expect(missing.size === 0).toBe(gaps.length === 0);
        const layers = [...slices, ...gaps]
          .sort((a, b) => a.layerStart - b.layerStart)
          .flatMap(({ layerStart, layerEnd }) =>
            Array.from({ length: layerEnd - layerStart }, (_, offset) => layerStart + offset),
          );
        expect(layers).toEqual(Array.from({ length: cardOf(input).layerCount }, (_, layer) => layer));
      }),
    );
  });

  it('is settled: placing again on its own result changes nothing', () => {
    fc.assert(
      fc.property(placementInputs, (input) => {
        const first = place(input);
        const second = place({ ...input, current: first.assignments });
        expect([...second.assignments]).toEqual([...first.assignments]);
      }),
    );
  });

  it('is settled with several models too, and keeps whole what is whole when peers come', () => {
    fc.assert(
      fc.property(cardLists, nodeLists, nodeLists, stagePolicies, (models, nodes, others, stages) => {
        const before = place({ models, nodes, stages, current: new Map(), network: ONE_REGION });
        expect([
          ...place({ models, nodes, stages, current: before.assignments, network: ONE_REGION }).assignments,
        ]).toEqual([...before.assignments]);
        const newcomers = others.map(({ capability }, index) => node(100 + index, capability));
        const all = [...nodes, ...newcomers];
        const after = place({ models, nodes: all, stages, current: before.assignments, network: ONE_REGION });
        const missingBefore = [...before.missing.keys()];
        expect([...after.missing.keys()].filter((model) => !missingBefore.includes(model))).toEqual([]);
      }),
    );
  });

  it('moves nobody who fits when the model is whole', () => {
    fc.assert(
      fc.property(cards, nodeLists, nodeLists, (model, nodes, newcomers) => {
        const before = placeOn(nodes, { model });
        fc.pre(before.missing.size === 0);
        const all = [...nodes, ...newcomers.map((other, index) => node(100 + index, other.capability))];
        const after = placeOn(all, { model, current: before.assignments });
        for (const [peer, assignment] of before.assignments) {
          expect(after.assignments.get(peer)).toEqual(assignment);
        }
      }),
    );
  });

  it('with a number of stages splits a copy over exactly that many, or assigns nobody', () => {
    fc.assert(
      fc.property(cards, nodeLists, fc.integer({ min: 1, max: 5 }), (model, nodes, stages) => {
        const { assignments, missing } = placeOn(nodes, { model, stages });
        const chain = bestChain(model.layerCount, [...assignments.values()]);
        const expected = missing.size === 0 ? Math.min(stages, model.layerCount) : 0;
        expect(chain.slices).toHaveLength(expected);
        expect(assignments.size).toBeGreaterThanOrEqual(expected);
        expect(assignments.size === 0).toBe(expected === 0);
      }),
    );
  });

  it('holds the model whenever the peers can, however few can', () => {
    fc.assert(
      fc.property(cards, nodeLists, (model, nodes) => {
        const { missing } = placeOn(nodes, { model });
        expect(missing.size === 0).toBe(fewestPeers(model, nodes) !== null);
      }),
    );
  });
});

describe('place, by example', () => {
  it('puts the whole model on one peer when one holds it', () => {
    expect(placeOn([node(0)]).assignments).toEqual(currentOf([node(0), slice(0, 8)]));
  });

  it('gives the second peer a second copy rather than a part', () => {
    const current = currentOf([node(0), slice(0, 8)]);
    expect(placeOn([node(0), node(1)], { current }).assignments).toEqual(
      currentOf([node(0), slice(0, 8)], [node(1), slice(0, 8)]),
    );
  });

  it('with 3 stages and equal peers cuts in three, in order of arrival', () => {
    expect(placeOn([node(0), node(1), node(2)], { stages: 3 }).assignments).toEqual(
      currentOf([node(0), slice(0, 3)], [node(1), slice(3, 6)], [node(2), slice(6, 8)]),
    );
  });

  it('with 3 stages and two peers waits, and says for what', () => {
    const { assignments, missing } = placeOn([node(0), node(1)], { stages: 3 });
    expect(assignments.size).toBe(0);
    expect([...missing.values()]).toEqual(['layers 0–7 are held by nobody; waiting for 1 more peer']);
  });

  it('gives layers by measured speed', () => {
    const fast = node(0, { matvecBytesPerSecond: 3000 });
    expect(placeOn([fast, node(1)], { stages: 2 }).assignments).toEqual(
      currentOf([fast, slice(0, 6)], [node(1), slice(6, 8)]),
    );
  });

  it('puts the head where it costs least', () => {
    const fast = node(0, { matvecBytesPerSecond: 4000 });
    const model = card({ headBytes: 8000, headMultiplyAdds: 50_000 });
    expect(placeOn([fast, node(1)], { stages: 2, model }).assignments).toEqual(
      currentOf([node(1), slice(0, 2)], [fast, slice(2, 8)]),
    );
  });

  it('fills the hole a leaver made with the newcomer and moves nobody', () => {
    const current = currentOf([node(0), slice(0, 3)], [node(1), slice(3, 6)], [node(2), slice(6, 8)]);
    expect(placeOn([node(0), node(2), node(3)], { stages: 3, current }).assignments).toEqual(
      currentOf([node(0), slice(0, 3)], [node(2), slice(6, 8)], [node(3), slice(3, 6)]),
    );
  });

  it('with 3 stages and one gone keeps the survivors and names the hole', () => {
    const current = currentOf([node(0), slice(0, 3)], [node(1), slice(3, 6)], [node(2), slice(6, 8)]);
    const { assignments, missing } = placeOn([node(0), node(2)], { stages: 3, current });
    expect(assignments).toEqual(currentOf([node(0), slice(0, 3)], [node(2), slice(6, 8)]));
    expect([...missing.values()]).toEqual(['layers 3–5 are held by nobody; waiting for 1 more peer']);
  });

  it('moves a second copy before it moves anybody who is needed', () => {
    const nodes = [nodeForLayers(0, 4), nodeForLayers(2, 4), nodeForLayers(3, 4)] as const;
    const current = currentOf([nodes[0], slice(0, 4)], [nodes[1], slice(0, 4)]);
    const { assignments } = placeOn(nodes.slice(0, 2), { current });
    expect(assignments).toEqual(currentOf([nodes[0], slice(0, 4)], [nodes[1], slice(4, 8)]));
  });

  it('moves one holder when no newcomer fits the hole', () => {
    const [big, small] = [nodeForLayers(0, 6), nodeForLayers(1, 2)] as const;
    const { assignments } = placeOn([big, small], { current: currentOf([big, slice(0, 4)]) });
    expect(assignments).toEqual(currentOf([big, slice(2, 8)], [small, slice(0, 2)]));
  });

  it('moves one holder rather than all', () => {
    const [first, second, idle] = [nodeForLayers(0, 4), nodeForLayers(1, 2), nodeForLayers(2, 2)] as const;
    const current = currentOf([first, slice(0, 2)], [second, slice(2, 4)]);
    expect(placeOn([first, second, idle], { current }).assignments).toEqual(
      currentOf([first, slice(4, 8)], [second, slice(2, 4)], [idle, slice(0, 2)]),
    );
  });

  it('moves two holders rather than all', () => {
    const [a, b, c] = [nodeForLayers(0, 4), nodeForLayers(1, 2), nodeForLayers(2, 2)] as const;
    const tooSmall = nodeForLayers(3, 1);
    const current = currentOf([a, slice(0, 2)], [b, slice(2, 4)], [c, slice(4, 6)]);
    expect(placeOn([a, b, c, tooSmall], { current }).assignments).toEqual(
      currentOf([a, slice(0, 4)], [b, slice(6, 8)], [c, slice(4, 6)], [tooSmall, slice(0, 1)]),
    );
  });

  it('moves everybody when nothing less makes the model whole', () => {
    const nodes = [nodeForLayers(0, 3), nodeForLayers(1, 3), nodeForLayers(2, 3)] as const;
    const current = currentOf([nodes[0], slice(0, 2)], [nodes[1], slice(2, 4)], [nodes[2], slice(4, 6)]);
    expect(placeOn(nodes, { current, model: card({ layerCount: 9 }) }).assignments).toEqual(
      currentOf([nodes[0], slice(0, 3)], [nodes[1], slice(3, 6)], [nodes[2], slice(6, 9)]),
    );
  });

  it('moves a holder whose slice leaves more holes than there are stages to fill them', () => {
    const current = currentOf([node(0), slice(3, 5)]);
    const { assignments } = placeOn([node(0), node(1), node(2)], { stages: 2, current });
    const { slices } = bestChain(8, [...assignments.values()]);
    expect(slices).toHaveLength(2);
  });

  it('of the pairs that hold the model takes the fastest, not the roomiest', () => {
    const roomyButSlow = node(0, { memoryBytes: 6 * LAYER_BYTES, matvecBytesPerSecond: 10 });
    const [one, other] = [nodeForLayers(1, 4), nodeForLayers(2, 4)] as const;
    expect(placeOn([roomyButSlow, one, other]).assignments).toEqual(
      currentOf([roomyButSlow, slice(0, 4)], [one, slice(0, 4)], [other, slice(4, 8)]),
    );
  });

  it('copies every stage before it copies one twice', () => {
    const current = currentOf([node(0), slice(0, 4)], [node(1), slice(4, 8)]);
    const { assignments } = placeOn([node(0), node(1), nodeForLayers(2, 4), nodeForLayers(3, 4)], {
      current,
    });
    expect(assignments).toEqual(
      new Map([
        ...current,
        ...currentOf([nodeForLayers(2, 4), slice(0, 4)], [nodeForLayers(3, 4), slice(4, 8)]),
      ]),
    );
  });

  it('has newcomers that are in no region yet help where all need it most', () => {
    const held = [slice(0, 3), slice(3, 6), slice(6, 8), slice(0, 3)] as const;
    const members = held.map((_, index) => ({ ...node(index), region: 7 }));
    const current = currentOf(...held.map((range, index) => [members[index] ?? node(index), range] as const));
    const newcomers = [{ ...node(4), region: 1 }, node(5)] as const;
    const { assignments } = placeOn([...members, ...newcomers], { current, stages: 3 });
    const starts = newcomers.map(({ peer }) => assignments.get(peer)?.layerStart);
    expect(starts).toEqual([3, 6]);
  });

  it('copies the slowest stage that fits', () => {
    const [slow, quick] = [node(0, { matvecBytesPerSecond: 100 }), node(1, { matvecBytesPerSecond: 9e5 })];
    const current = currentOf([slow, slice(0, 4)], [quick, slice(4, 8)]);
    const { assignments } = placeOn([slow, quick, nodeForLayers(2, 4)], { current });
    expect(assignments.get(nodeForLayers(2, 4).peer)).toEqual(slice(0, 4));
  });

  it('lets two small newcomers share a copy of a stage', () => {
    const current = currentOf([node(0), slice(0, 8)]);
    const small = [nodeForLayers(1, 4), nodeForLayers(2, 4)] as const;
    expect(placeOn([node(0), ...small], { current }).assignments).toEqual(
      currentOf([node(0), slice(0, 8)], [small[0], slice(0, 4)], [small[1], slice(4, 8)]),
    );
  });

  it('covers every model before it copies any, with second copies of others if need be', () => {
    const other = card({ id: 'other' as ModelId });
    const current = currentOf([node(0), slice(0, 8)], [node(1), slice(0, 8)]);
    const { assignments, missing } = place({
      models: [card(), other],
      nodes: [node(0), node(1)],
      current,
      stages: 'auto',
      network: ONE_REGION,
    });
    expect(missing.size).toBe(0);
    expect(new Set([...assignments.values()].map(({ model }) => model))).toEqual(new Set(['model', 'other']));
  });

  it('says how much memory a model lacks', () => {
    const model = card({ bytesPerLayer: 512 * 1024, cacheBytesPerTokenPerLayer: 256 });
    const { missing } = placeOn([node(0, { memoryBytes: 2 * 1024 * 1024 })], { model });
    expect([...missing.values()]).toEqual([
      'layers 0–7 are held by nobody; the 1 peer here lends 2 MiB, the model takes 8 MiB and no split fits; ' +
        'waiting for peers that lend more memory',
    ]);
  });
});

function cardOf(input: PlacementInput) {
  return input.models[0] ?? card();
}

/** By trying everything: the size of the smallest set of nodes that holds the model, or null. */
function fewestPeers(model: ReturnType<typeof card>, nodes: readonly SchedulerNode[]): number | null {
  let sets: { used: ReadonlySet<SchedulerNode>; layer: number }[] = [{ used: new Set(), layer: 0 }];
  for (let count = 1; count <= nodes.length; count += 1) {
    const next: typeof sets = [];
    for (const { used, layer } of sets) {
      for (const candidate of nodes.filter((other) => !used.has(other))) {
        const reach = furthest(model, candidate, layer);
        if (reach === model.layerCount) return count;
        if (reach > layer) next.push({ used: new Set([...used, candidate]), layer: reach });
      }
    }
    sets = next;
  }
  return null;
}

function furthest(model: ReturnType<typeof card>, { capability }: SchedulerNode, layerStart: number): number {
  let layerEnd = layerStart;
  for (let end = layerStart + 1; end <= model.layerCount; end += 1) {
    if (neededBytes(model, { layerStart, layerEnd: end }) <= capability.memoryBytes) layerEnd = end;
  }
  return layerEnd;
}
