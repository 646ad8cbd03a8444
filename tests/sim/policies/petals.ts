import type { PeerId } from '../../../src/protocol/ids.ts';
import type { Hop } from '../../../src/protocol/route.ts';
import type { Capability, ModelCard } from '../../../src/protocol/signaling.ts';
import { SILENCE_SECONDS } from '../policy.ts';
import type {
  Policy,
  PolicyCommand,
  PolicyContext,
  PolicyEvent,
  PolicyFactory,
  PolicyTraits,
} from '../policy.ts';
import type { RetryRule } from '../retry-rule.ts';
import { RoundTrips } from './round-trips.ts';

/** Tokens of cache a server sets aside per block, for models with grouped heads. */
const CACHE_TOKENS_PER_BLOCK = 16_384;
/** A server moves when the swarm's throughput is below this share of what moving could make it. */
export const BALANCE_QUALITY = 0.75;
/** Each server looks after a random time with this mean. */
const MEAN_CHECK_SECONDS = 120;
/** Packing and unpacking a message, as its clients reckon it. */
const OVERHEAD_SECONDS = 0.018;
/** A server is worth no more than what its connection lets through of activations in 16 bits. */
const BYTES_PER_ELEMENT = 2;
/** What a server without room for a request costs in the search for a route. */
const NO_ROOM_SECONDS = 10;
/** A client routes around a server that failed it for this long, and for twice as long after every further failure. */
const BAN_SECONDS = 15;
/** What a client waits before its third attempt; the second is made at once, and every later wait is twice as long. */
const MIN_BACKOFF_SECONDS = 1;
const MAX_BACKOFF_SECONDS = 60;
/** A server prefers its place over one that is better by less than this. */
const EPSILON = 1e-3;

const TRAITS: PolicyTraits = {
  batching: { kind: 'separate', prefillChunkRows: null },
  cacheUse: 'in-advance',
  cacheRoom: { share: 1 },
  maxOpenRequests: Infinity,
  afterLoss: 'replay',
  // A broken stream is noticed at once; servers announce themselves every minute and are forgotten after two.
  notice: {
    closed: { request: [0, 1], policy: [60, 120] },
    vanished: { request: SILENCE_SECONDS, policy: [60, 120] },
  },
  ring: 'by-requester',
  retry: { attempts: Infinity, firstSeconds: MIN_BACKOFF_SECONDS, longestSeconds: MAX_BACKOFF_SECONDS },
};

/** For ever; `exclude` names only the server of the latest failure, for bans pass. */
export const petalsRetry: RetryRule = (state, error) => {
  const failures = state.failures + 1;
  const culprit = error.data['peer'];
  const backoffSeconds = Math.min(MIN_BACKOFF_SECONDS * 2 ** (failures - 2), MAX_BACKOFF_SECONDS);
  return {
    state: {
      ...state,
      epoch: state.epoch + 1,
      exclude: typeof culprit === 'string' ? [culprit as PeerId] : [],
      failures,
    },
    delayMs: failures === 1 ? 0 : backoffSeconds * 1000,
  };
};

/** Consecutive blocks, and what a server adds to the throughput of each. */
export interface Span {
  readonly peer: PeerId;
  readonly start: number;
  readonly length: number;
  readonly throughput: number;
}

interface Server {
  span: Span;
  /** Seconds of one block for one token. */
  readonly blockSeconds: number;
  isServing: boolean;
  freeCacheTokens: number;
  checkAtSeconds: number;
}

/**
 * Petals: every server chooses the blocks with the least throughput and moves when the swarm is badly balanced, every
 * client finds its own route by pings and published speeds, steps of different clients are not batched, and a client
 * replays to a new server what the lost one had received.
 */
export const petals: PolicyFactory = (context) => new PetalsSwarm(context);

class PetalsSwarm implements Policy {
  readonly name = 'petals';
  readonly traits = TRAITS;
  readonly retryRule = petalsRetry;
  readonly #context: PolicyContext;
  readonly #card: ModelCard;
  readonly #servers = new Map<PeerId, Server>();
  readonly #roundTrips: RoundTrips;
  /** By client; each knows only what happened to itself. */
  readonly #bans = new Map<PeerId, Map<PeerId, Ban>>();

  constructor(context: PolicyContext) {
    this.#context = context;
    this.#card = context.card;
    this.#roundTrips = new RoundTrips(context.pingSeconds);
  }

  handle(event: PolicyEvent, nowSeconds: number): readonly PolicyCommand[] {
    switch (event.type) {
      case 'join':
        return this.#join(event, nowSeconds);
      case 'leave':
      case 'lost':
        this.#servers.delete(event.peer);
        return [];
      case 'serving': {
        const server = this.#servers.get(event.peer);
        if (server !== undefined) server.isServing = server.span.start === event.slice.layerStart;
        return [];
      }
      case 'measured': {
        const server = this.#servers.get(event.peer);
        if (server !== undefined && event.stage !== null)
          server.freeCacheTokens = event.stage.freeCacheTokens;
        return [];
      }
      case 'request': {
        const { requestId } = event;
        for (const server of event.exclude) this.#ban(event.requester, server, nowSeconds);
        const hops = this.#route(event, nowSeconds);
        return hops === null
          ? [{ type: 'refuse', requestId, reason: 'no-route' }]
          : [{ type: 'route', requestId, hops }];
      }
      case 'ended':
        this.#bans.delete(event.requester);
        return [];
      case 'tick':
        return [...this.#servers.values()].flatMap((server) => this.#check(server, nowSeconds));
    }
  }

  #join(
    { peer, claim, bytesPerSecond }: Extract<PolicyEvent, { type: 'join' }>,
    nowSeconds: number,
  ): PolicyCommand[] {
    const length = blockCount(this.#card, claim);
    if (length < 1) return [];
    const computedRows =
      claim.matmulFlopsPerSecond / (2 * this.#card.multiplyAddsPerLayer) / ((length + 1) / 2);
    const sentRows = bytesPerSecond / (this.#card.hiddenSize * BYTES_PER_ELEMENT);
    const throughput = Math.min(computedRows, sentRows);
    const start = bestStart(this.#throughputs(), length);
    const server: Server = {
      span: { peer, start, length, throughput },
      blockSeconds: this.#card.bytesPerLayer / claim.matvecBytesPerSecond,
      isServing: false,
      freeCacheTokens: CACHE_TOKENS_PER_BLOCK,
      checkAtSeconds: nowSeconds + this.#nextCheck(),
    };
    this.#servers.set(peer, server);
    return [assign(server.span)];
  }

  #check(server: Server, nowSeconds: number): PolicyCommand[] {
    if (nowSeconds < server.checkAtSeconds) return [];
    server.checkAtSeconds = nowSeconds + this.#nextCheck();
    const { peer, length } = server.span;
    if (!shouldMove(this.#spans(), peer, this.#card.layerCount, this.#context.random)) return [];
    const others = this.#spans().filter((span) => span.peer !== peer);
    server.span = { ...server.span, start: bestStart(throughputs(others, this.#card.layerCount), length) };
    server.isServing = false;
    return [assign(server.span)];
  }

  #ban(client: PeerId, server: PeerId, nowSeconds: number): void {
    const bans = this.#bans.get(client) ?? new Map<PeerId, Ban>();
    const failures = (bans.get(server)?.failures ?? 0) + 1;
    bans.set(server, { failures, untilSeconds: nowSeconds + BAN_SECONDS * 2 ** (failures - 1) });
    this.#bans.set(client, bans);
  }

  /** Whom a client may enter: nobody it has banned, but where all that hold a block are banned, each of them. */
  #usable(client: PeerId, nowSeconds: number): Server[] {
    const serving = [...this.#servers.values()].filter(({ isServing }) => isServing);
    const bans = this.#bans.get(client);
    if (bans === undefined) return serving;
    const isFree = ({ span }: Server) => (bans.get(span.peer)?.untilSeconds ?? 0) <= nowSeconds;
    const free = new Array<boolean>(this.#card.layerCount).fill(false);
    for (const { span } of serving.filter(isFree)) free.fill(true, span.start, span.start + span.length);
    return serving.filter(
      (server) =>
        isFree(server) ||
        free.slice(server.span.start, server.span.start + server.span.length).includes(false),
    );
  }

  #nextCheck(): number {
    return this.#context.random() * 2 * MEAN_CHECK_SECONDS;
  }

  #spans(): Span[] {
    return [...this.#servers.values()].map(({ span }) => span);
  }

  #throughputs(): number[] {
    return throughputs(this.#spans(), this.#card.layerCount);
  }

  /** Least latency; a server that is entered at some block is left after its last. */
  #route(
    { requester, promptTokens, maxTokens }: Extract<PolicyEvent, { type: 'request' }>,
    nowSeconds: number,
  ): readonly Hop[] | null {
    const { layerCount } = this.#card;
    const usable = this.#usable(requester, nowSeconds);
    const leaving = new Map<number, Arrival[]>();
    for (let block = 0; block < layerCount; block += 1) {
      const before = leaving.get(block) ?? [];
      if (block > 0 && before.length === 0) continue;
      for (const server of usable) {
        const { peer, start, length } = server.span;
        const end = start + length;
        if (block < start || block >= end) continue;
        const arrival = this.#bestWay(requester, before, peer);
        const hasRoom = promptTokens + maxTokens <= server.freeCacheTokens;
        const seconds =
          arrival.seconds +
          OVERHEAD_SECONDS +
          (hasRoom ? 0 : NO_ROOM_SECONDS) +
          (end - block) * server.blockSeconds;
        const hop = { peer, layerStart: block, layerEnd: end };
        leaving.set(end, [...(leaving.get(end) ?? []), { seconds, hop, before: arrival.before }]);
      }
    }
    const ends = (leaving.get(layerCount) ?? []).map((arrival) => ({
      arrival,
      seconds: arrival.seconds + this.#oneWay(requester, arrival.hop.peer),
    }));
    if (ends.length === 0) return null;
    const { arrival } = ends.reduce((a, b) => (b.seconds < a.seconds ? b : a));
    const hops: Hop[] = [];
    for (let last: Arrival | null = arrival; last !== null; last = last.before) hops.unshift(last.hop);
    return hops;
  }

  #bestWay(
    requester: PeerId,
    before: readonly Arrival[],
    peer: PeerId,
  ): { readonly seconds: number; readonly before: Arrival | null } {
    if (before.length === 0) return { seconds: this.#oneWay(requester, peer), before: null };
    return before
      .map((arrival) => ({
        seconds: arrival.seconds + this.#oneWay(arrival.hop.peer, peer),
        before: arrival,
      }))
      .reduce((a, b) => (b.seconds < a.seconds ? b : a));
  }

  #oneWay(a: PeerId, b: PeerId): number {
    return this.#roundTrips.seconds(a, b) / 2;
  }
}

interface Ban {
  readonly failures: number;
  readonly untilSeconds: number;
}

interface Arrival {
  readonly seconds: number;
  readonly hop: Hop;
  readonly before: Arrival | null;
}

/** Blocks a server takes: as many as fit with their cache. */
export function blockCount(card: ModelCard, { memoryBytes }: Capability): number {
  const blockBytes = card.bytesPerLayer + CACHE_TOKENS_PER_BLOCK * card.cacheBytesPerTokenPerLayer;
  // Its clients hold embedding and head; here the ends of the pipeline have to.
  const endBytes = Math.max(card.embeddingBytes, card.headBytes);
  return Math.min(card.layerCount, Math.floor((memoryBytes - endBytes) / blockBytes));
}

/** Sum of the servers' throughputs over each block. */
export function throughputs(spans: readonly Span[], blocks: number): number[] {
  const sums = new Array<number>(blocks).fill(0);
  for (const span of spans) add(sums, span, span.throughput);
  return sums;
}

/** Where a server of so many blocks helps most: its slowest block the slowest there is, then the next slowest, and so on. */
export function bestStart(sums: readonly number[], length: number): number {
  let best = { start: 0, sorted: sortedFrom(sums, 0, length) };
  for (let start = 1; start + length <= sums.length; start += 1) {
    const sorted = sortedFrom(sums, start, length);
    const differs = sorted.findIndex((value, index) => value !== best.sorted[index]);
    if (differs >= 0 && (sorted[differs] ?? 0) < (best.sorted[differs] ?? 0)) best = { start, sorted };
  }
  return best.start;
}

/**
 * Whether a server should choose other blocks: it is not in its best place, its leaving breaks nothing, and when
 * everybody moved to their best places one after the other, the slowest block would be faster by a third.
 */
export function shouldMove(
  all: readonly Span[],
  peer: PeerId,
  blocks: number,
  random: () => number,
): boolean {
  const spans = new Map(all.map((span) => [span.peer, span]));
  const sums = throughputs(all, blocks);
  const initial = Math.min(...sums);
  const own = spans.get(peer);
  if (own === undefined) return false;
  add(sums, own, -own.throughput * (1 + EPSILON));
  if (initial > EPSILON && Math.min(...sums) <= 0) return false;
  const start = bestStart(sums, own.length);
  if (start === own.start) return false;
  moveTo(spans, sums, own, start);

  const order = [...spans.keys()];
  for (let moved = true; moved;) {
    moved = false;
    shuffle(order, random);
    for (const id of order) {
      const span = spans.get(id);
      if (span === undefined) continue;
      add(sums, span, -span.throughput * (1 + EPSILON));
      const next = bestStart(sums, span.length);
      moveTo(spans, sums, span, next);
      moved ||= next !== span.start;
    }
  }
  const settled = Math.min(...sums);
  if (settled < initial || settled < EPSILON) return false;
  return initial / settled < BALANCE_QUALITY - EPSILON;
}

/** Puts a span back whose throughput was taken out with a little more. */
function moveTo(spans: Map<PeerId, Span>, sums: number[], span: Span, start: number): void {
  add(sums, span, span.throughput * EPSILON);
  const moved = { ...span, start };
  spans.set(span.peer, moved);
  add(sums, moved, moved.throughput);
}

function add(sums: number[], { start, length }: Span, amount: number): void {
  for (let block = start; block < start + length; block += 1) sums[block] = (sums[block] ?? 0) + amount;
}

function sortedFrom(sums: readonly number[], start: number, length: number): number[] {
  return sums.slice(start, start + length).sort((a, b) => a - b);
}

function shuffle(list: PeerId[], random: () => number): void {
  for (let last = list.length - 1; last > 0; last -= 1) {
    const other = Math.floor(random() * (last + 1));
    const [a, b] = [list[last], list[other]];
    if (a !== undefined && b !== undefined) [list[last], list[other]] = [b, a];
  }
}

function assign({ peer, start, length }: Span): PolicyCommand {
  return { type: 'assign', peer, slice: { layerStart: start, layerEnd: start + length } };
}
