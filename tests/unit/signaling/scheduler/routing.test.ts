import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Hop } from '../../../../src/protocol/route.ts';
import { MAX_SEARCHED_MEMBERS } from '../../../../signaling/scheduler/route-candidates.ts';
import { findRoute, PREFIX_DISCOUNT } from '../../../../signaling/scheduler/routing.ts';
import type { RouteDecision, RouteInput, ServingMember } from '../../../../signaling/scheduler/types.ts';
import { card, peerId } from './instances.ts';
import {
  chains,
  choiceSeconds,
  decodeSeconds,
  LAYERS,
  member,
  networkOf,
  routeInput,
  routeInputs,
} from './route-instances.ts';

const RUNS = { numRuns: 1000 };

function hopsOf(decision: RouteDecision): readonly Hop[] | null {
  return decision.kind === 'route' ? decision.hops : null;
}

function peersOf(input: RouteInput) {
  return hopsOf(findRoute(input))?.map(({ peer }) => peer);
}

function chainOf({ members }: RouteInput, hops: readonly Hop[]): ServingMember[] {
  return hops.flatMap((hop) => members.filter(({ peer }) => peer === hop.peer));
}

function hasRoom({ inFlight, reservedTokens, cacheTokens }: ServingMember, tokens: number): boolean {
  return inFlight === 0 || reservedTokens + tokens <= cacheTokens;
}

describe('findRoute', () => {
  it('finds what trying every chain finds, over regions, links, loads and full caches', () => {
    const seen = { route: 0, full: 0, none: 0 };
    fc.assert(
      fc.property(routeInputs, (input) => {
        const usable = input.members.filter(({ peer }) => !input.exclude.has(peer));
        const all = chains(usable);
        const roomy = all.filter((chain) => chain.every((hop) => hasRoom(hop, input.tokens)));
        const decision = findRoute(input);
        seen[decision.kind] += 1;

        if (decision.kind !== 'route') {
          expect(roomy).toEqual([]);
          expect(decision.kind).toBe(all.length > 0 ? 'full' : 'none');
          return;
        }
        const chain = chainOf(input, decision.hops);
        const least = Math.min(...roomy.map((candidate) => choiceSeconds(input, candidate)));
        expect(choiceSeconds(input, chain)).toBeCloseTo(least, 9);
        expect(decision.secondsPerToken).toBeCloseTo(decodeSeconds(input, chain), 9);
      }),
      RUNS,
    );
    expect(Math.min(seen.route, seen.full, seen.none)).toBeGreaterThan(10);
  });

  it('covers each layer once, in order, over members that are neither excluded nor full', () => {
    fc.assert(
      fc.property(routeInputs, (input) => {
        const hops = hopsOf(findRoute(input));
        if (hops === null) return;
        expect([0, ...hops.map((hop) => hop.layerEnd)]).toEqual([
          ...hops.map((hop) => hop.layerStart),
          LAYERS,
        ]);
        for (const hop of hops) {
          const [found] = chainOf(input, [hop]);
          expect(found).toMatchObject(hop);
          expect(found !== undefined && hasRoom(found, input.tokens)).toBe(true);
          expect(input.exclude.has(hop.peer)).toBe(false);
        }
      }),
      RUNS,
    );
  });

  it('never does worse with one member more', () => {
    fc.assert(
      fc.property(routeInputs, (input) => {
        const fewer = { ...input, members: input.members.slice(0, -1) };
        const [before, after] = [hopsOf(findRoute(fewer)), hopsOf(findRoute(input))];
        if (before === null) return;
        expect(after).not.toBeNull();
        const costOf = (hops: readonly Hop[]) => choiceSeconds(input, chainOf(input, hops));
        expect(costOf(after ?? [])).toBeLessThanOrEqual(costOf(before) + 1e-12);
      }),
      RUNS,
    );
  });

  it('gives the same answer to the same question', () => {
    fc.assert(
      fc.property(routeInputs, (input) => {
        expect(findRoute(structuredClone(input))).toEqual(findRoute(input));
      }),
    );
  });

  it('prefers the earlier of equals, at every place of the route', () => {
    const members = [member(3, 0, 2), member(1, 2, LAYERS), member(2, 0, 2), member(0, 2, LAYERS)];
    expect(peersOf(routeInput({ members }))).toEqual([peerId(3), peerId(1)]);
  });

  it('takes the measured way for what it is, be it better or worse than its regions', () => {
    const members = [member(0, 0, 2), member(1, 0, 2), member(2, 2, LAYERS)];
    const over = (rttSeconds: number) =>
      peersOf(
        routeInput({ members, network: networkOf([[0.05]], [[1, 2, { rttSeconds, bytesPerSecond: null }]]) }),
      )?.[0];
    expect(over(0.01)).toBe(peerId(1));
    expect(over(0.06)).toBe(peerId(0));
  });

  it('finds the only exit without a bad way among many better ones with bad ways', () => {
    const exits = Array.from({ length: 8 }, (_, index) =>
      member(index + 1, 1, 2, { matvecBytesPerSecond: 1e6 - index }),
    );
    const members = [member(0, 0, 1), ...exits, member(9, 2, LAYERS)];
    const bad = { rttSeconds: 2, bytesPerSecond: null };
    const network = networkOf(
      [[0.01]],
      exits.slice(0, 6).map((_, index) => [index + 1, 9, bad] as const),
    );
    expect(peersOf(routeInput({ members, network }))?.[1]).toBe(peerId(7));
  });

  it('takes the first hop that the last has a short way back to', () => {
    const firsts = [member(0, 0, 2), member(1, 0, 2, { pace: 1.001 })];
    const first = (rttSeconds: number) => {
      // On the way there both are as near as their region.
      const there = { rttSeconds: 0.05, bytesPerSecond: null };
      const middle = [member(3, 2, 3), member(4, 3, LAYERS, { matvecBytesPerSecond: 1e9 })];
      const network = networkOf(
        [[0.05]],
        [
          [1, 3, there],
          [1, 4, { rttSeconds, bytesPerSecond: null }],
        ],
      );
      return peersOf(routeInput({ members: [...firsts, ...middle], network }))?.[0];
    };
    expect(first(0.001)).toBe(peerId(1));
    expect(first(0.06)).toBe(peerId(0));
  });

  it('prefers the earlier of equals over a region that is looked at first', () => {
    const members = [
      member(0, 0, 1),
      member(1, 1, 2, { region: 1 }),
      member(2, 1, 2, { region: 0 }),
      member(3, 2, LAYERS),
    ];
    const network = networkOf(
      [
        [0.01, 0.01],
        [0.01, 0.01],
      ],
      [],
    );
    expect(peersOf(routeInput({ members, network }))?.[1]).toBe(peerId(1));
  });

  it('stays in one region, and near the requester, when all else is equal', () => {
    const members = [
      member(0, 0, 2, { region: 0 }),
      member(1, 2, LAYERS, { region: 1 }),
      member(2, 0, 2, { region: 1 }),
      member(3, 2, LAYERS, { region: 0 }),
    ];
    const network = networkOf(
      [
        [0.01, 0.1],
        [0.1, 0.01],
      ],
      [],
    );
    const from = (requesterRegion: number) => peersOf(routeInput({ members, network, requesterRegion }));
    expect(from(0)).toEqual([peerId(0), peerId(3)]);
    expect(from(1)).toEqual([peerId(2), peerId(1)]);
  });

  it('counts the way from the last hop back to the first', () => {
    const members = [
      member(0, 0, 2, { region: 0 }),
      member(1, 2, 3, { region: 1, matvecBytesPerSecond: 1e6 }),
      member(2, 3, LAYERS, { region: 2, matvecBytesPerSecond: 1e6 }),
      member(3, 3, LAYERS, { region: 1, matvecBytesPerSecond: 1e6 }),
    ];
    const network = networkOf(
      [
        [0, 0.1, 0.5],
        [0.1, 0.09, 0.05],
        [0.5, 0.05, 0],
      ],
      [],
    );
    expect(peersOf(routeInput({ members, network }))?.[2]).toBe(peerId(3));
  });

  it('goes to the idle copy, and to a busy fast one only while it is still quicker', () => {
    const route = (inFlight: number) =>
      peersOf(
        routeInput({
          members: [member(0, 0, LAYERS), member(1, 0, LAYERS, { inFlight, matvecBytesPerSecond: 3000 })],
        }),
      )?.[0];
    expect(route(0)).toBe(peerId(1));
    expect(route(1)).toBe(peerId(1));
    expect(route(60)).toBe(peerId(0));
  });

  it('shares requests among equal copies evenly', () => {
    const loads = [0, 0, 0];
    for (let request = 0; request < 30; request += 1) {
      const members = loads.map((inFlight, index) => member(index, 0, LAYERS, { inFlight }));
      const chosen = peersOf(routeInput({ members }))?.[0];
      const index = loads.findIndex((_, candidate) => peerId(candidate) === chosen);
      loads[index] = (loads[index] ?? 0) + 1;
    }
    expect(loads).toEqual([10, 10, 10]);
  });

  it('takes a first chain whatever it costs, and nobody whose cost is no number', () => {
    const slow = member(0, 0, LAYERS, { pace: 1e300 });
    expect(peersOf(routeInput({ members: [slow] }))).toEqual([peerId(0)]);
    for (const broken of [
      { pace: NaN },
      { pace: Infinity },
      { pace: 0, matvecBytesPerSecond: 0 },
      { pace: 1, matvecBytesPerSecond: 0 },
    ]) {
      const members = [
        member(1, 0, 2, broken),
        member(2, 2, LAYERS),
        member(3, 0, 2),
        member(4, 2, LAYERS, broken),
      ];
      expect(peersOf(routeInput({ members }))).toEqual([peerId(3), peerId(2)]);
      const crowd = Array.from({ length: MAX_SEARCHED_MEMBERS + 1 }, (_, index) =>
        member(100 + index, 0, LAYERS, broken),
      );
      expect(peersOf(routeInput({ members: [...crowd, member(5, 0, LAYERS)] }))).toEqual([peerId(5)]);
    }
  });

  it('admits any request to a member that has none, however long', () => {
    const lone = (inFlight: number) =>
      findRoute(routeInput({ members: [member(0, 0, LAYERS, { inFlight, cacheTokens: 100 })], tokens: 1000 }))
        .kind;
    expect(lone(0)).toBe('route');
    expect(lone(1)).toBe('full');
  });

  it('goes back to the hops of the last request while they are not much slower', () => {
    const previous = [{ peer: peerId(1), layerStart: 0, layerEnd: LAYERS }];
    const chosen = (pace: number, overrides: Partial<RouteInput> = {}) =>
      peersOf(
        routeInput({
          members: [member(0, 0, LAYERS), member(1, 0, LAYERS, { pace })],
          previous,
          ...overrides,
        }),
      )?.[0];
    const still = 1 / (1 - PREFIX_DISCOUNT);
    expect(chosen(still - 0.01)).toBe(peerId(1));
    expect(chosen(still + 0.01)).toBe(peerId(0));
    expect(chosen(1, { exclude: new Set([peerId(1)]) })).toBe(peerId(0));
    expect(chosen(1, { previous: [{ peer: peerId(1), layerStart: 0, layerEnd: 2 }] })).toBe(peerId(0));
    expect(chosen(1, { previous: [{ peer: peerId(7), layerStart: 0, layerEnd: LAYERS }] })).toBe(peerId(0));
  });

  it('finds the cheapest among more members than are searched', () => {
    const cuts = [0, 2, LAYERS];
    const many = Array.from({ length: 3 * MAX_SEARCHED_MEMBERS }, (_, index) =>
      member(index, cuts[index % 2] ?? 0, cuts[(index % 2) + 1] ?? 0, {
        region: Math.floor(index / 2) % 3,
        matvecBytesPerSecond: 10_000 + ((index * 7919) % 100_003),
        inFlight: (index * 31) % 17,
      }),
    );
    const rows = [0, 1, 2].map((a) => [0, 1, 2].map((b) => (a === b ? 0.001 : 0.05)));
    const input = routeInput({ members: many, network: networkOf(rows, []) });
    const ofRegion = (region: number, layerStart: number) =>
      many.filter((each) => each.region === region && each.layerStart === layerStart);
    // Of each region and slice only the cheapest can be of use where no way is measured.
    const best = [0, 1, 2].flatMap((region) =>
      [0, 2].flatMap((layerStart) => {
        const group = ofRegion(region, layerStart);
        const costs = group.map((each) => choiceSeconds({ ...input, network: networkOf(rows, []) }, [each]));
        return group.slice(costs.indexOf(Math.min(...costs))).slice(0, 1);
      }),
    );
    const least = Math.min(...chains(best).map((chain) => choiceSeconds(input, chain)));
    const hops = hopsOf(findRoute(input)) ?? [];
    expect(hops).toHaveLength(2);
    expect(choiceSeconds(input, chainOf(input, hops))).toBeCloseTo(least, 9);
  });

  it('finds a route within the hop limit where the cheapest chain is over it', () => {
    const long = card({ layerCount: 129 });
    const single = Array.from({ length: 129 }, (_, layer) => member(layer, layer, layer + 1));
    expect(findRoute(routeInput({ card: long, members: single })).kind).toBe('none');
    const withSlowPair = [...single, member(200, 0, 2, { matvecBytesPerSecond: 1 })];
    expect(hopsOf(findRoute(routeInput({ card: long, members: withSlowPair })))).toHaveLength(128);
  });
});
