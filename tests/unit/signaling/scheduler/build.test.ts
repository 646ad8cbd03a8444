import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { buildPipelines, STAGE_COUNTS } from '../../../../signaling/scheduler/build.ts';
import { ONE_REGION } from '../../../../signaling/scheduler/network.ts';
import type { SchedulerNode } from '../../../../signaling/scheduler/types.ts';
import { card, LAYER_BYTES, node } from './instances.ts';

const LAYERS = 12;
/** Caches of whole answers take most of the memory, as they do in models. */
const model = card({ layerCount: LAYERS });

const useful = fc
  .array(
    fc.record({
      layers: fc.integer({ min: 1, max: LAYERS }),
      matvecBytesPerSecond: fc.integer({ min: 20, max: 60 }).map((tenths) => 10 ** (tenths / 10)),
    }),
    { minLength: 15, maxLength: 45 },
  )
  .map((peers) =>
    peers.map(({ layers, matvecBytesPerSecond }, index) =>
      node(index, { memoryBytes: layers * LAYER_BYTES, matvecBytesPerSecond }),
    ),
  );

/** Too small for one layer, however fast. */
const useless = fc
  .array(fc.integer({ min: 1, max: LAYER_BYTES - 1 }), { minLength: 5, maxLength: 15 })
  .map((sizes) =>
    sizes.map((memoryBytes, index) =>
      node(1000 + index, { memoryBytes, matvecBytesPerSecond: 1e9, matmulFlopsPerSecond: 1e12 }),
    ),
  );

it('is the same with peers that can hold nothing among twenty to sixty', () => {
  let built = 0;
  fc.assert(
    fc.property(useful, useless, fc.constantFrom('even', 'by-speed'), (some, others, cuts) => {
      const plan = { stageCounts: STAGE_COUNTS, cuts, maxPipelines: 64 } as const;
      const groupsOf = (nodes: readonly SchedulerNode[]) =>
        buildPipelines(model, nodes, ONE_REGION, plan).map(({ groups }) =>
          groups.map((group) => group.map(({ peer }) => peer)),
        );
      const without = groupsOf(some);
      built += without.length;
      expect(groupsOf([...others, ...some])).toEqual(without);
    }),
    { numRuns: 60 },
  );
  expect(built).toBeGreaterThan(60);
});
