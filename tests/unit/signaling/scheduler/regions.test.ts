import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PeerId } from '../../../../src/protocol/ids.ts';
import { FIRST_MEASURED, RADIUS_SECONDS, UNKNOWN_REGION } from '../../../../signaling/scheduler/clusters.ts';
import type { MeasuredWay, RegionInput } from '../../../../signaling/scheduler/clusters.ts';
import { UNKNOWN_RTT_SECONDS } from '../../../../signaling/scheduler/network.ts';
import { findRegions } from '../../../../signaling/scheduler/regions.ts';
import { peerId } from './instances.ts';

function way(a: number, b: number, rttSeconds: number): MeasuredWay {
  return { a: peerId(a), b: peerId(b), rttSeconds };
}

function input(count: number, overrides: Partial<RegionInput> = {}): RegionInput {
  return {
    peers: Array.from({ length: count }, (_, index) => peerId(index)),
    serverRttSeconds: new Map(),
    ways: [],
    previous: new Map(),
    ...overrides,
  };
}

function servers(...seconds: readonly number[]): ReadonlyMap<PeerId, number> {
  return new Map(seconds.map((value, index) => [peerId(index), value]));
}

function regionsOf({ peers }: RegionInput, of: ReadonlyMap<PeerId, number>): number[] {
  return peers.map((peer) => of.get(peer) ?? NaN);
}

/** Peers of which every second is of one continent, all pairs of `density` of them measured, with jitter. */
const worlds = fc.record({
  count: fc.integer({ min: 2, max: 24 }),
  continents: fc.integer({ min: 1, max: 4 }),
  jitters: fc.array(fc.double({ min: 0, max: 0.005, noNaN: true }), { minLength: 100, maxLength: 100 }),
});

function waysOfWorld({
  count,
  continents,
  jitters,
}: {
  count: number;
  continents: number;
  jitters: readonly number[];
}) {
  const ways: MeasuredWay[] = [];
  for (let a = 0; a < count; a += 1) {
    for (let b = a + 1; b < count; b += 1) {
      const apart = a % continents === b % continents ? 0.012 : 0.08;
      ways.push(way(a, b, apart + (jitters[(a * count + b) % 100] ?? 0)));
    }
  }
  return ways;
}

describe('findRegions', () => {
  it('gives every continent a region, and the medians between them', () => {
    fc.assert(
      fc.property(worlds, (world) => {
        const asked = input(world.count, { ways: waysOfWorld(world) });
        const { of, rttSeconds } = findRegions(asked);
        const found = regionsOf(asked, of);
        for (let a = 0; a < world.count; a += 1) {
          for (let b = 0; b < world.count; b += 1) {
            const isSame = a % world.continents === b % world.continents;
            expect(found[a] === found[b]).toBe(isSame);
            const figure = rttSeconds[found[a] ?? -1]?.[found[b] ?? -1] ?? NaN;
            if (a !== b) expect(Math.abs(figure - (isSame ? 0.0145 : 0.0825))).toBeLessThan(0.00251);
            expect(rttSeconds[found[b] ?? -1]?.[found[a] ?? -1]).toBe(figure);
          }
        }
      }),
    );
  });

  it('keeps the regions it gave while measurements waver', () => {
    fc.assert(
      fc.property(
        worlds,
        fc.array(fc.double({ min: 0, max: 0.02, noNaN: true }), { minLength: 100, maxLength: 100 }),
        (world, noise) => {
          const { count } = world;
          const before = findRegions(input(count, { ways: waysOfWorld(world) })).of;
          const after = findRegions(
            input(count, { ways: waysOfWorld({ ...world, jitters: noise }), previous: before }),
          ).of;
          expect(after).toEqual(before);
        },
      ),
    );
  });

  it('does not join a chain of neighbours to one region', () => {
    // On a line, 20 ms from one to the next, each measured only against its neighbours.
    const count = 12;
    const ways = Array.from({ length: count - 1 }, (_, index) => way(index, index + 1, 0.02));
    let previous: ReadonlyMap<PeerId, number> = new Map();
    for (let round = 0; round < 6; round += 1) {
      const asked = input(count, { ways, previous });
      previous = findRegions(asked).of;
      const found = regionsOf(asked, previous);
      for (const region of found) {
        const span = found.lastIndexOf(region) - found.indexOf(region);
        expect(span * 0.02).toBeLessThanOrEqual(2 * RADIUS_SECONDS);
      }
    }
  });

  it('moves a peer that is plainly elsewhere, and only then', () => {
    const near = (distance: number) => [
      ...[1, 2].map((other) => way(0, other, distance)),
      way(1, 2, 0.005),
      way(3, 4, 0.005),
      ...[3, 4].map((other) => way(0, other, 0.01)),
      ...[1, 2].flatMap((a) => [3, 4].map((b) => way(a, b, 0.06))),
    ];
    const previous = new Map([6, 6, 6, 7, 7].map((region, index) => [peerId(index), region]));
    const regionAt = (distance: number) =>
      findRegions(input(5, { ways: near(distance), previous })).of.get(peerId(0));
    expect(regionAt(0.03)).toBe(6);
    expect(regionAt(0.05)).toBe(7);
  });

  it('joins regions that turn out to be one place, and keeps the number of the larger', () => {
    const previous = new Map([6, 7, 7].map((region, index) => [peerId(index), region]));
    const between = (rttSeconds: number) => {
      const asked = input(3, {
        ways: [way(0, 1, rttSeconds), way(0, 2, rttSeconds), way(1, 2, 0.004)],
        previous,
      });
      return regionsOf(asked, findRegions(asked).of);
    };
    expect(between(0.005)).toEqual([7, 7, 7]);
    expect(between(0.05)).toEqual([6, 7, 7]);
    const pairs = new Map([6, 6, 7, 7].map((region, index) => [peerId(index), region]));
    const apart = [0, 1].flatMap((a) => [2, 3].map((b) => way(a, b, 0.008)));
    const asked = input(4, { ways: [way(0, 1, 0.004), way(2, 3, 0.004), ...apart], previous: pairs });
    expect(regionsOf(asked, findRegions(asked).of)).toEqual([6, 6, 6, 6]);
  });

  it('places peers without measured ways by the server, and leaves the unknown alone', () => {
    const asked = input(6, { serverRttSeconds: servers(0.005, 0.006, 0.04, 0.2, 0.045) });
    const { of, rttSeconds } = findRegions(asked);
    const [a = NaN, b, c = NaN, d, e, unknown = NaN] = regionsOf(asked, of);
    expect(a).toBe(b);
    expect(c).toBe(e);
    expect(new Set([a, c, d, unknown]).size).toBe(4);
    expect(unknown).toBe(UNKNOWN_REGION);
    expect(Math.max(a, c)).toBeLessThan(FIRST_MEASURED);
    expect(rttSeconds[a]?.[c]).toBeCloseTo(0.0055 + 0.0425, 9);
    expect(rttSeconds[c]?.[c]).toBeCloseTo(0.085, 9);
    expect(rttSeconds[a]?.[unknown]).toBe(UNKNOWN_RTT_SECONDS);
  });

  it('does not move a peer between bands of the server for a little', () => {
    const bandAt = (seconds: number, previous: ReadonlyMap<PeerId, number>) =>
      findRegions(input(1, { serverRttSeconds: servers(seconds), previous })).of;
    const before = bandAt(0.024, new Map());
    expect(bandAt(0.027, before)).toEqual(before);
    expect(bandAt(0.04, before)).not.toEqual(before);
    expect(bandAt(0.027, new Map())).not.toEqual(before);
  });

  it('takes a newcomer near the server into the region that is there', () => {
    const asked = input(3, { serverRttSeconds: servers(0.004, 0.005, 0.006), ways: [way(0, 1, 0.003)] });
    const found = regionsOf(asked, findRegions(asked).of);
    expect(new Set(found).size).toBe(1);
    // What was measured goes before what the server's round trips allow.
    const far = input(3, {
      serverRttSeconds: servers(0.004, 0.005, 0.006),
      ways: [way(0, 1, 0.003), way(0, 2, 0.09), way(1, 2, 0.09)],
    });
    const [first, , third] = regionsOf(far, findRegions(far).of);
    expect(third).not.toBe(first);
  });

  it('keeps a region when its first member leaves', () => {
    const ways = [way(0, 1, 0.005), way(0, 2, 0.005), way(1, 2, 0.005)];
    const previous = findRegions(input(3, { ways })).of;
    const rest = { ...input(3, { ways, previous }), peers: [peerId(1), peerId(2)] };
    expect(regionsOf(rest, findRegions(rest).of)).toEqual([previous.get(peerId(1)), previous.get(peerId(2))]);
  });

  it('gives the same regions to the same input', () => {
    fc.assert(
      fc.property(worlds, (world) => {
        const asked = input(world.count, { ways: waysOfWorld(world) });
        expect(findRegions(structuredClone(asked))).toEqual(findRegions(asked));
      }),
    );
  });

  it('sorts 4096 peers with eight ways each in far less than a second', () => {
    const count = 4096;
    const ways = Array.from({ length: count * 8 }, (_, index) => {
      const a = index % count;
      const b = (a * 31 + index) % count;
      return way(a, b, a % 5 === b % 5 ? 0.01 : 0.09);
    }).filter(({ a, b }) => a !== b);
    const startedMs = performance.now();
    const { of } = findRegions(input(count, { ways }));
    // Some 20 ms on an idle machine; the limit is for one that is not.
    expect(performance.now() - startedMs).toBeLessThan(500);
    expect(of.size).toBe(count);
  });
});
