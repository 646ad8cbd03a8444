import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { sliceSeconds } from '../../../../signaling/scheduler/cost.ts';
import { ONE_REGION } from '../../../../signaling/scheduler/network.ts';
import { findRoute as decideRoute, HOP_SECONDS } from '../../../../signaling/scheduler/routing.ts';
import type { RouteInput, ServingMember } from '../../../../signaling/scheduler/types.ts';
import { card, node, peerId } from './instances.ts';

function member(
  index: number,
  layerStart: number,
  layerEnd: number,
  { inFlight = 0, matvecBytesPerSecond = 1000 } = {},
): ServingMember {
  return {
    ...node(index, { matvecBytesPerSecond }),
    layerStart,
    layerEnd,
    inFlight,
    reservedTokens: 0,
    cacheTokens: 1e6,
    pace: 1,
  };
}

/** Null where there is no route. */
function findRoute(input: Pick<RouteInput, 'card' | 'members' | 'exclude'>) {
  const decision = decideRoute({
    network: ONE_REGION,
    requesterRegion: null,
    tokens: 1,
    previous: [],
    ...input,
  });
  return decision.kind === 'route' ? decision.hops : null;
}

const LAYERS = 6;
const model = card({ layerCount: LAYERS });

const memberLists: fc.Arbitrary<ServingMember[]> = fc
  .array(
    fc.record({
      ends: fc.uniqueArray(fc.nat(LAYERS), { minLength: 2, maxLength: 2 }),
      inFlight: fc.nat(5),
      // Fast enough that a hop weighs as much as a layer, slow enough that it is not all that weighs.
      matvecBytesPerSecond: fc.integer({ min: 10_000, max: 10_000_000 }),
    }),
    { maxLength: 9 },
  )
  .map((list) =>
    list.map(({ ends, ...load }, index) => member(index, Math.min(...ends), Math.max(...ends), load)),
  );

/** Every chain from `layer` to the end, by trying all. */
function chains(members: readonly ServingMember[], layer: number): ServingMember[][] {
  if (layer === LAYERS) return [[]];
  return members
    .filter((candidate) => candidate.layerStart === layer)
    .flatMap((first) => chains(members, first.layerEnd).map((rest) => [first, ...rest]));
}

function cost(chain: readonly ServingMember[]): number {
  return chain.reduce(
    (sum, hop) => sum + sliceSeconds(model, hop.capability, hop) * (1 + hop.inFlight) + HOP_SECONDS,
    0,
  );
}

describe('findRoute', () => {
  it('finds a least-cost chain of whole slices without the excluded, and null only when there is none', () => {
    fc.assert(
      fc.property(memberLists, fc.array(fc.nat(9)), (members, excluded) => {
        const exclude = new Set(excluded.map(peerId));
        const allowed = members.filter(({ peer }) => !exclude.has(peer));
        const all = chains(allowed, 0);
        const route = findRoute({ card: model, members, exclude });

        const hops = (route ?? []).map((hop) => {
          const found = allowed.find(({ peer }) => peer === hop.peer);
          expect(found).toMatchObject({ layerStart: hop.layerStart, layerEnd: hop.layerEnd });
          return hop;
        });
        expect(route === null).toBe(all.length === 0);
        const ends = hops.map((hop) => hop.layerEnd);
        expect(hops.map((hop) => hop.layerStart)).toEqual(route === null ? [] : [0, ...ends.slice(0, -1)]);
        expect(ends.at(-1)).toBe(route === null ? undefined : LAYERS);

        const chosen = hops.flatMap((hop) => allowed.filter(({ peer }) => peer === hop.peer));
        const least = all.length === 0 ? 0 : Math.min(...all.map(cost));
        expect(cost(chosen)).toBeCloseTo(least, 9);
      }),
    );
  });

  it('takes one hop rather than two, unless two are quicker by more than a hop', () => {
    const hops = (secondsOfOne: number) => {
      const matvecBytesPerSecond = (LAYERS * 1000) / secondsOfOne;
      const twice = { matvecBytesPerSecond: 2 * matvecBytesPerSecond };
      const members = [
        member(0, 0, 3, twice),
        member(1, 3, 6, twice),
        member(2, 0, 6, { matvecBytesPerSecond }),
      ];
      return findRoute({ card: model, members, exclude: new Set() })?.map(({ peer }) => peer);
    };
    expect(hops(HOP_SECONDS)).toEqual([peerId(2)]);
    expect(hops(4 * HOP_SECONDS)).toEqual([peerId(0), peerId(1)]);
  });

  it('goes to the idle copy, and to a busy fast one only while it is still quicker', () => {
    const route = (inFlight: number) =>
      findRoute({
        card: model,
        members: [member(0, 0, 6), member(1, 0, 6, { inFlight, matvecBytesPerSecond: 3000 })],
        exclude: new Set(),
      })?.[0]?.peer;
    expect(route(0)).toBe(peerId(1));
    expect(route(1)).toBe(peerId(1));
    expect(route(3)).toBe(peerId(0));
  });

  it('finds a route within the hop limit where the cheapest chain is over it', () => {
    const long = card({ layerCount: 129 });
    const single = Array.from({ length: 129 }, (_, layer) => member(layer, layer, layer + 1));
    expect(findRoute({ card: long, members: single, exclude: new Set() })).toBeNull();
    const withSlowPair = [...single, member(200, 0, 2, { matvecBytesPerSecond: 1 })];
    expect(findRoute({ card: long, members: withSlowPair, exclude: new Set() })).toHaveLength(128);
  });
});
