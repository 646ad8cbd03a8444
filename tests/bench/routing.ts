import { NETWORK_REFRESH_MS } from '../../signaling/measurements.ts';
import { findRoute } from '../../signaling/scheduler/routing.ts';
import type { Link, Network, RouteInput, ServingMember } from '../../signaling/scheduler/types.ts';
import type { PeerId } from '../../src/protocol/ids.ts';
import { seededRandom } from '../unit/signaling/scheduler/quality.ts';
import { BENCH_CARD, BENCH_NETWORK, benchNodes } from './placement.ts';
import { AskedDesk } from './route-asking.ts';
import { atMost, exactly } from './report.ts';
import type { Check, Table } from './report.ts';
import { median } from './timing.ts';

const SEED = 1;
/** Meshes of one size that are asked in turn. */
const MESHES = 4;
const WARM_RUNS = 400;
const MIN_RUNS = 40;
const MAX_RUNS = 4000;
const MEASURED_MS = 1000;
/** Requests of every desk between two findings of the network, and how often that is done at least. */
const ASKED_PER_ROUND = 8;
const MIN_ROUNDS = 4;

/** Measured ways of each peer: those of its region, mostly, and some far ones. */
const LINKS_PER_PEER = 8;
const MAX_IN_FLIGHT = 24;
const REQUEST_TOKENS = 1000;
const CACHE_TOKENS = 20_000;

/** Nodes, in how many slices the model is cut among them, and the milliseconds that a route may take. */
const SIZES: readonly {
  readonly nodes: number;
  readonly cuts: readonly number[];
  readonly boundMs: number | null;
}[] = [
  { nodes: 4, cuts: [2], boundMs: 0.0136 },
  { nodes: 16, cuts: [4], boundMs: null },
  { nodes: 64, cuts: [4, 8], boundMs: null },
  { nodes: 256, cuts: [8, 16], boundMs: 1 },
  { nodes: 1024, cuts: [8, 16], boundMs: null },
  { nodes: 4096, cuts: [8, 10, 16, 20], boundMs: 10 },
];

/** How long one route takes to find. */
export function measureRouting(onProgress: (line: string) => void): { table: Table; checks: Check[] } {
  const random = seededRandom(SEED);
  const checks: Check[] = [];
  const rows = SIZES.map(({ nodes, cuts, boundMs }) => {
    onProgress(`routes over ${nodes} nodes`);
    const inputs = Array.from({ length: MESHES }, () => inputOf(nodes, cuts, random));
    const firstMs = median(inputs.map((input) => timeOf(input)));
    const warmMs = medianMs(inputs);
    const unrouted = inputs.filter((input) => findRoute(input).kind !== 'route').length;
    if (boundMs !== null) checks.push(atMost(`a route over ${nodes} nodes, ms`, warmMs, boundMs));
    checks.push(exactly(`meshes of ${nodes} nodes without a route`, unrouted, 0));
    const asked = measureAsking(inputs);
    checks.push(exactly(`requests to the desk of ${nodes} nodes without a route`, asked.unrouted, 0));
    return {
      nodes,
      'a route, ms': warmMs,
      'the first over new measurements, ms': firstMs,
      'asked of the desk, ms': asked.warmMs,
      'with the network found anew, ms': asked.networkMs,
    };
  });
  const title = `Routing, medians, 80 layers, 5 regions, ${LINKS_PER_PEER} measured ways for each peer`;
  return { table: { title, rows }, checks };
}

function inputOf(nodes: number, cuts: readonly number[], random: () => number): RouteInput {
  const members = benchNodes(nodes, random).map((node, index): ServingMember => {
    const stages = cuts[index % cuts.length] ?? 1;
    const stage = Math.floor(index / cuts.length) % stages;
    const inFlight = Math.floor(random() * MAX_IN_FLIGHT);
    return {
      ...node,
      layerStart: (stage * BENCH_CARD.layerCount) / stages,
      layerEnd: ((stage + 1) * BENCH_CARD.layerCount) / stages,
      inFlight,
      // Some are full.
      reservedTokens: inFlight * REQUEST_TOKENS * (0.5 + 0.5 * random()),
      cacheTokens: CACHE_TOKENS,
      pace: 0.5 + random(),
    };
  });
  return {
    card: BENCH_CARD,
    members: members.length < 16 ? members.map((member) => ({ ...member, reservedTokens: 0 })) : members,
    exclude: new Set(),
    network: withLinks(members, random),
    requesterRegion: 0,
    tokens: REQUEST_TOKENS,
    previous: [],
  };
}

function withLinks(members: readonly ServingMember[], random: () => number): Network {
  const links = new Map<PeerId, Map<PeerId, Link>>();
  for (const from of members) {
    for (let count = 0; count < LINKS_PER_PEER / 2; count += 1) {
      const to = members[Math.floor(random() * members.length)];
      if (to === undefined || to === from) continue;
      const regionSeconds = BENCH_NETWORK.regionRttSeconds[from.region]?.[to.region] ?? 0;
      const [a, b] = from.peer < to.peer ? [from.peer, to.peer] : [to.peer, from.peer];
      const others = links.get(a) ?? new Map<PeerId, Link>();
      const bytesPerSecond = random() < 0.5 ? null : 1e6 + 2e7 * random();
      links.set(a, others.set(b, { rttSeconds: regionSeconds * (0.5 + random()), bytesPerSecond }));
    }
  }
  return { ...BENCH_NETWORK, links };
}

/**
 * What a request costs the server from its asking to its end: who serves, with what is measured of them and runs over
 * them, is gathered for each; every few seconds the regions are found anew before.
 */
function measureAsking(inputs: readonly RouteInput[]): {
  warmMs: number;
  networkMs: number;
  unrouted: number;
} {
  const desks = inputs.map((input) => new AskedDesk(input, 0));
  let [nowMs, unrouted] = [0, 0];
  const askEach = (): number[] =>
    desks.map((desk, index) => {
      const startMs = performance.now();
      if (desk.ask(requesterOf(index), nowMs) === null) unrouted += 1;
      return performance.now() - startMs;
    });
  const beganMs = performance.now();
  const networkTimes: number[] = [];
  const warmTimes: number[] = [];
  for (let round = 0; round < MIN_ROUNDS || performance.now() - beganMs < MEASURED_MS; round += 1) {
    nowMs += NETWORK_REFRESH_MS;
    // Nobody compares the first round: the compiler is not done with it.
    const first = askEach();
    const others = Array.from({ length: ASKED_PER_ROUND }, askEach).flat();
    if (round === 0) continue;
    networkTimes.push(...first);
    warmTimes.push(...others);
  }
  return { warmMs: median(warmTimes), networkMs: median(networkTimes), unrouted };
}

/** Nobody who serves. */
function requesterOf(index: number): PeerId {
  return `f${index.toString(16).padStart(31, '0')}` as PeerId;
}

function timeOf(input: RouteInput): number {
  const startMs = performance.now();
  findRoute(input);
  return performance.now() - startMs;
}

/** Of calls one by one, warm. */
function medianMs(inputs: readonly RouteInput[]): number {
  const next = (run: number) => {
    const input = inputs[run % inputs.length];
    return input === undefined ? NaN : timeOf(input);
  };
  const beganMs = performance.now();
  for (let run = 0; run < WARM_RUNS && performance.now() - beganMs < MEASURED_MS; run += 1) next(run);
  const times: number[] = [];
  const measuringMs = performance.now();
  const isOver = () => performance.now() - measuringMs > MEASURED_MS;
  while (times.length < MIN_RUNS || (times.length < MAX_RUNS && !isOver())) times.push(next(times.length));
  return median(times);
}
