import * as fc from 'fast-check';
import type { PeerId } from '../../../../src/protocol/ids.ts';
import { stepSeconds } from '../../../../signaling/scheduler/cost.ts';
import type { Link, Network, RouteInput, ServingMember } from '../../../../signaling/scheduler/types.ts';
import { card, node, peerId } from './instances.ts';

export const LAYERS = 5;
/** Steps of a layer take about as long as the way between near peers. */
export const model = card({ layerCount: LAYERS, hiddenSize: 1000 });

export function member(
  index: number,
  layerStart: number,
  layerEnd: number,
  overrides: Partial<ServingMember> & { readonly matvecBytesPerSecond?: number } = {},
): ServingMember {
  const { matvecBytesPerSecond = 1000, ...rest } = overrides;
  return {
    ...node(index, { matvecBytesPerSecond }),
    layerStart,
    layerEnd,
    inFlight: 0,
    reservedTokens: 0,
    cacheTokens: 1e6,
    pace: 1,
    ...rest,
  };
}

/** @param ways pairs of peers by number, in any order, with what was measured between them. */
export function networkOf(
  regionRttSeconds: readonly (readonly number[])[],
  ways: readonly (readonly [number, number, Link])[],
): Network {
  const links = new Map<PeerId, Map<PeerId, Link>>();
  for (const [a, b, link] of ways) {
    const [near, far] = [peerId(Math.min(a, b)), peerId(Math.max(a, b))];
    const others = links.get(near) ?? new Map<PeerId, Link>();
    links.set(near, others.set(far, link));
  }
  return { regionRttSeconds, links };
}

export function routeInput(overrides: Partial<RouteInput> & Pick<RouteInput, 'members'>): RouteInput {
  return {
    card: model,
    exclude: new Set(),
    network: networkOf([[0.01]], []),
    requesterRegion: null,
    tokens: 1,
    previous: [],
    ...overrides,
  };
}

/** Every chain from `layer` to the end, by trying all. */
export function chains(members: readonly ServingMember[], layerCount = LAYERS, layer = 0): ServingMember[][] {
  if (layer === layerCount) return [[]];
  return members
    .filter((candidate) => candidate.layerStart === layer)
    .flatMap((first) => chains(members, layerCount, first.layerEnd).map((rest) => [first, ...rest]));
}

/** One decode step over a chain, reckoned apart from the code under test. */
export function decodeSeconds(input: RouteInput, chain: readonly ServingMember[]): number {
  const share = (hop: ServingMember) => (hop.layerEnd - hop.layerStart) / input.card.layerCount;
  return chainSeconds(input, chain, (hop) => hop.inFlight * share(hop));
}

/** What a chain is chosen by: steps with all requests in them, and a tenth of the ways between the requester and both ends. */
export function choiceSeconds(input: RouteInput, chain: readonly ServingMember[]): number {
  const toRequester = (end: ServingMember | undefined) =>
    input.requesterRegion === null || end === undefined
      ? 0
      : (input.network.regionRttSeconds[input.requesterRegion]?.[end.region] ?? NaN) / 2;
  const ends = toRequester(chain[0]) + toRequester(chain.at(-1));
  return chainSeconds(input, chain, (hop) => hop.inFlight) + 0.1 * ends;
}

function chainSeconds(
  { card: model, network }: RouteInput,
  chain: readonly ServingMember[],
  othersIn: (hop: ServingMember) => number,
): number {
  const rttSeconds = (a: ServingMember, b: ServingMember) =>
    linkOf(network, a, b)?.rttSeconds ?? network.regionRttSeconds[a.region]?.[b.region] ?? NaN;
  let seconds = 0;
  for (const [place, hop] of chain.entries()) {
    const others = othersIn(hop);
    const steps = Math.max(1, (1 + others) / 64);
    seconds +=
      hop.pace * steps * stepSeconds(model, hop.capability, hop, (1 + others) / steps, others / steps);
    const next = chain[place + 1];
    if (next === undefined) continue;
    const bytesPerSecond = linkOf(network, hop, next)?.bytesPerSecond ?? 12.5e6;
    seconds += rttSeconds(hop, next) / 2 + (model.hiddenSize * 2) / bytesPerSecond;
  }
  const [first, last] = [chain[0], chain.at(-1)];
  return first === undefined || last === undefined || first === last
    ? seconds
    : seconds + rttSeconds(last, first) / 2;
}

function linkOf({ links }: Network, a: ServingMember, b: ServingMember): Link | undefined {
  return links.get(a.peer)?.get(b.peer) ?? links.get(b.peer)?.get(a.peer);
}

const REGIONS = 3;
const MEMBERS = 8;
const rtt = fc.double({ min: 0, max: 0.2, noNaN: true });

const networks: fc.Arbitrary<Network> = fc
  .record({
    rows: fc.array(rtt, { minLength: REGIONS * REGIONS, maxLength: REGIONS * REGIONS }),
    ways: fc.array(
      fc.tuple(
        fc.nat(MEMBERS - 1),
        fc.nat(MEMBERS - 1),
        fc.record({
          rttSeconds: rtt,
          bytesPerSecond: fc.option(fc.double({ min: 1e4, max: 1e8, noNaN: true })),
        }),
      ),
      { maxLength: 24 },
    ),
  })
  .map(({ rows, ways }) => {
    const symmetrical = Array.from({ length: REGIONS }, (_, a) =>
      Array.from({ length: REGIONS }, (_, b) => rows[Math.min(a, b) * REGIONS + Math.max(a, b)] ?? NaN),
    );
    return networkOf(
      symmetrical,
      ways.filter(([a, b]) => a !== b),
    );
  });

const memberLists: fc.Arbitrary<ServingMember[]> = fc
  .array(
    fc.record({
      ends: fc.uniqueArray(fc.nat(LAYERS), { minLength: 2, maxLength: 2 }),
      region: fc.nat(REGIONS - 1),
      inFlight: fc.oneof(fc.constant(0), fc.nat(400)),
      reservedTokens: fc.nat(20),
      cacheTokens: fc.constant(20),
      pace: fc.double({ min: 0.3, max: 4, noNaN: true }),
      // A layer takes from a tenth of a millisecond to a tenth of a second.
      matvecBytesPerSecond: fc.integer({ min: 10_000, max: 10_000_000 }),
    }),
    { maxLength: MEMBERS },
  )
  .map((list) =>
    list.map(({ ends, ...rest }, index) => member(index, Math.min(...ends), Math.max(...ends), rest)),
  );

/** Requests over few members in three regions, some of them linked, some full, some excluded. */
export const routeInputs: fc.Arbitrary<RouteInput> = fc
  .record({
    members: memberLists,
    network: networks,
    excluded: fc.array(fc.nat(MEMBERS - 1), { maxLength: 2 }),
    requesterRegion: fc.option(fc.nat(REGIONS - 1)),
    tokens: fc.integer({ min: 1, max: 8 }),
  })
  .map(({ excluded, ...rest }) => routeInput({ ...rest, exclude: new Set(excluded.map(peerId)) }));
