import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { sliceRate } from '../../../../signaling/scheduler/cost.ts';
import { cutRange } from '../../../../signaling/scheduler/cuts.ts';
import type { LayerRange, SchedulerNode } from '../../../../signaling/scheduler/types.ts';
import { card, cards, neededBytes, node, nodeForLayers, nodeLists } from './instances.ts';

type Model = ReturnType<typeof card>;

/** One to three groups of peers, none of them empty. */
const groupLists = nodeLists
  .filter((nodes) => nodes.length > 0)
  .map((nodes) => [0, 1, 2].map((group) => nodes.filter((_, index) => index % 3 === group)))
  .map((groups) => groups.filter((group) => group.length > 0));

it('leaves the slowest group as fast as any cut does, or finds none where there is none', () => {
  fc.assert(
    fc.property(cards, groupLists, fc.nat(5), fc.nat(5), (model, groups, skipped, left) => {
      const range = { layerStart: skipped, layerEnd: model.layerCount - left };
      fc.pre(range.layerEnd > range.layerStart);
      const cuts = cutRange(model, range, groups);
      const best = bestLevel(model, groups, range);
      expect(cuts === null).toBe(best === 0);
      if (cuts === null) return;
      expect(cuts.layers.reduce((sum, layers) => sum + layers, 0)).toBe(range.layerEnd - range.layerStart);
      expect(Math.min(...cuts.layers)).toBeGreaterThanOrEqual(1);
      expect(cuts.rate / best).toBeCloseTo(1, 9);
    }),
    { numRuns: 300 },
  );
});

it('is as good with many layers and groups of very different memory', () => {
  const members = fc.record({
    // Between just enough for some layers, where one less doubles the batch, and more than enough.
    memoryBytes: fc.oneof(
      fc.integer({ min: 20_000, max: 80_000 }),
      fc.integer({ min: 80_000, max: 400_000 }),
    ),
    matvecBytesPerSecond: fc.integer({ min: 0, max: 30 }).map((tenths) => 10 ** (3 + tenths / 10)),
    matmulFlopsPerSecond: fc.integer({ min: 0, max: 40 }).map((tenths) => 10 ** (3 + tenths / 10)),
  });
  fc.assert(
    fc.property(fc.array(members, { minLength: 2, maxLength: 3 }), (capabilities) => {
      const model = card({ layerCount: 36 });
      const groups = capabilities.map((capability, index) => [node(index, capability)]);
      const range = { layerStart: 0, layerEnd: 36 };
      const best = bestLevel(model, groups, range);
      expect(Math.abs((cutRange(model, range, groups)?.rate ?? 0) - best)).toBeLessThanOrEqual(best * 1e-9);
    }),
    { numRuns: 300 },
  );
});

it('gives the rest of an even division to whoever comes first', () => {
  const cuts = cutRange(card(), { layerStart: 0, layerEnd: 8 }, [[node(0)], [node(1)], [node(2)]]);
  expect(cuts?.layers).toEqual([3, 3, 2]);
});

it('does not cut a range into more pieces than it has layers', () => {
  expect(cutRange(card(), { layerStart: 0, layerEnd: 1 }, [[node(0)], [node(1)]])).toBeNull();
});

it('gives a group no more than its smallest member holds', () => {
  const groups = [[node(0), nodeForLayers(1, 2)], [node(2)]];
  expect(cutRange(card(), { layerStart: 0, layerEnd: 8 }, groups)?.layers).toEqual([2, 6]);
});

/** By trying everything: the most tokens per second of the slowest group, in this order; 0 when nothing fits. */
function bestLevel(model: Model, groups: readonly (readonly SchedulerNode[])[], range: LayerRange): number {
  const [group, ...others] = groups;
  if (group === undefined) return range.layerStart === range.layerEnd ? Infinity : 0;
  let best = 0;
  for (let layerEnd = range.layerStart + 1; layerEnd <= range.layerEnd; layerEnd += 1) {
    const slice = { layerStart: range.layerStart, layerEnd };
    const bytes = neededBytes(model, slice);
    if (group.some(({ capability }) => bytes > capability.memoryBytes)) break;
    const rest = bestLevel(model, others, { layerStart: layerEnd, layerEnd: range.layerEnd });
    const rate = group.reduce((sum, { capability }) => sum + sliceRate(model, capability, slice), 0);
    best = Math.max(best, Math.min(rest, rate));
  }
  return best;
}
