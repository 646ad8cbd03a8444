import type { PeerId, RequestId } from '../../../../src/protocol/ids.ts';
import type { Hop } from '../../../../src/protocol/route.ts';
import type { ModelCard, StageReport } from '../../../../src/protocol/signaling.ts';
import type { LayerRange } from '../../../../signaling/scheduler/types.ts';
import { stageCacheTokens } from '../../../../src/protocol/slice-bytes.ts';
import { CACHE_OVERCOMMIT } from '../../../../signaling/limits.ts';
import type {
  Policy,
  PolicyCommand,
  PolicyContext,
  PolicyEvent,
  PolicyFactory,
  PolicyTraits,
} from '../../policy.ts';
import { allocatePipelines, CACHE_SHARE, layerCapacity, maxRequests, waterFill } from './allocation.ts';
import type { ParallaxNode, PipelineScore } from './allocation.ts';
import { SKEIN_TRAITS } from '../skein.ts';
import { PARALLAX_TRAITS } from './shipped.ts';
import { RoundTrips } from '../round-trips.ts';

/** Of the paper's objective k^α / (T_comp + (s* / k) · r_RTT). */
const ALPHA = 2;
/** Nodes within this round trip of each other make a region; pipelines of the first phase do not leave theirs. */
const REGION_RTT_SECONDS = 0.05;
/** Coefficient of variation of the layers' cache above which everything is allocated anew: the allocator's default. */
const REBALANCE_VARIATION = 0.25;
/** Nodes publish latencies every few seconds; a layer of a node that is full seems slower by this. */
const FULL_SLOWER_SECONDS = 0.05e-3;
/** The paper does not say how many requests a node admits: as many as fit with a cache that is longer than nearly all of them get, twice as many as the repository's rule. */
const SEQUENCE_TOKENS = 1000;

interface Member extends ParallaxNode {
  readonly region: number;
  slice: LayerRange | null;
  isReady: boolean;
  requests: number;
  /** Measured time of one layer in a step; null before the first report. */
  layerSeconds: number | null;
}

/**
 * Parallax as its paper has it: regions are allocated by dynamic programming, left-over and new nodes take the layers
 * with the least cache, everything is allocated anew when a layer is held by nobody or the layers are too uneven, and
 * each request takes the shortest path over (layer, node) by measured latency and load. The paper is silent about
 * requests in flight when a node dies: they are asked again here, which is better than losing them.
 */
export const parallaxPaper: PolicyFactory = (context) =>
  new PaperParallax(context, {
    name: 'parallax-paper',
    traits: { ...PARALLAX_TRAITS, afterLoss: 'restart' },
    maxRequests: (card, node) => maxRequests(card, node, SEQUENCE_TOKENS),
  });

/** The same placement and routing with Skein's batches, caches, admission and repair: what these are worth by themselves. */
export const parallaxPaperInSkein: PolicyFactory = (context) =>
  new PaperParallax(context, {
    name: 'parallax-paper-in-skein',
    traits: SKEIN_TRAITS,
    maxRequests: (card, { capability, slice }) => {
      if (slice === null) return 0;
      const cacheTokens = CACHE_OVERCOMMIT * stageCacheTokens(card, capability.memoryBytes, slice);
      return Math.floor(cacheTokens / SEQUENCE_TOKENS);
    },
  });

/** What Parallax's placement and routing run in. */
interface Surroundings {
  readonly name: string;
  readonly traits: PolicyTraits;
  /** That a node takes at once. */
  readonly maxRequests: (
    card: ModelCard,
    node: ParallaxNode & { readonly slice: LayerRange | null },
  ) => number;
}

class PaperParallax implements Policy {
  readonly name: string;
  readonly traits: PolicyTraits;
  readonly #card: ModelCard;
  readonly #members = new Map<PeerId, Member>();
  readonly #regionHeads: PeerId[] = [];
  readonly #roundTrips: RoundTrips;
  readonly #waiting = new Map<RequestId, ReadonlySet<PeerId>>();
  readonly #running = new Map<RequestId, readonly Member[]>();

  constructor(
    context: PolicyContext,
    private readonly surroundings: Surroundings,
  ) {
    this.name = surroundings.name;
    this.traits = surroundings.traits;
    this.#card = context.card;
    this.#roundTrips = new RoundTrips(context.pingSeconds);
  }

  handle(event: PolicyEvent): readonly PolicyCommand[] {
    switch (event.type) {
      case 'join':
        return this.#join(event);
      case 'leave':
      case 'lost':
        return this.#remove(event.peer);
      case 'serving': {
        const member = this.#members.get(event.peer);
        if (member !== undefined && member.slice !== null) member.isReady = true;
        return this.#dispatch();
      }
      case 'measured':
        this.#measured(event.peer, event.stage);
        return [];
      case 'request':
        this.#finish(event.requestId);
        this.#waiting.set(event.requestId, new Set(event.exclude));
        return this.#dispatch();
      case 'ended':
        this.#waiting.delete(event.requestId);
        this.#finish(event.requestId);
        return this.#dispatch();
      case 'tick':
        return this.#dispatch();
    }
  }

  #join({ peer, claim }: Extract<PolicyEvent, { type: 'join' }>): PolicyCommand[] {
    const member: Member = {
      peer,
      capability: claim,
      region: this.#regionOf(peer),
      slice: null,
      isReady: false,
      requests: 0,
      layerSeconds: null,
    };
    this.#members.set(peer, member);
    if (this.#isCovered()) return this.#joinLightest(member);
    return this.#allocateAnew();
  }

  #remove(peer: PeerId): PolicyCommand[] {
    if (!this.#members.delete(peer)) return [];
    if (this.#isCovered() && this.#variation() <= REBALANCE_VARIATION) return [];
    return this.#allocateAnew();
  }

  #allocateAnew(): PolicyCommand[] {
    const before = new Map([...this.#members].map(([peer, { slice }]) => [peer, slice]));
    for (const member of this.#members.values()) member.slice = null;
    const regions = new Set([...this.#members.values()].map(({ region }) => region));
    for (const region of regions) {
      this.#allocate([...this.#members.values()].filter((member) => member.region === region));
    }
    // What no region holds alone is held together.
    if (!this.#isCovered()) this.#allocate([...this.#members.values()]);
    for (const member of this.#members.values()) {
      if (member.slice === null && this.#isCovered()) this.#takeLightest(member);
    }
    return [...this.#members.values()].flatMap((member): PolicyCommand[] => {
      const old = before.get(member.peer) ?? null;
      if (isSame(old, member.slice)) return [];
      Object.assign(member, { isReady: false, requests: 0, layerSeconds: null });
      this.#forgetRequests(member);
      return [{ type: 'assign', peer: member.peer, slice: member.slice }];
    });
  }

  #allocate(nodes: readonly Member[]): void {
    const free = nodes.filter(({ slice }) => slice === null);
    for (const pipeline of allocatePipelines(this.#card, free, this.#score(nodes))) {
      for (const [peer, slice] of waterFill(this.#card, pipeline) ?? []) {
        const member = this.#members.get(peer);
        if (member !== undefined) member.slice = slice;
      }
    }
  }

  /** k^α / (T_comp + (s / k) · r_RTT), T_comp by the roofline of an average node. */
  #score(nodes: readonly Member[]): PipelineScore {
    const [first, second] = nodes;
    const rttSeconds = first && second ? this.#roundTrip(first.peer, second.peer) : 0;
    const seconds = nodes.map((node) => this.#rooflineSeconds(node));
    const computeSeconds =
      (seconds.reduce((total, value) => total + value, 0) / Math.max(1, seconds.length)) *
      this.#card.layerCount;
    return (pipelines, stages) => pipelines ** ALPHA / (computeSeconds + (stages / pipelines) * rttSeconds);
  }

  #joinLightest(member: Member): PolicyCommand[] {
    this.#takeLightest(member);
    return member.slice === null ? [] : [{ type: 'assign', peer: member.peer, slice: member.slice }];
  }

  /** As many layers as fit, from the layer with the least cache on. */
  #takeLightest(member: Member): void {
    const cache = this.#cachePerLayer();
    const layerStart = cache.indexOf(Math.min(...cache));
    const embedding = layerStart === 0;
    const { layerCount } = this.#card;
    const end = layerStart + layerCapacity(this.#card, member, { embedding });
    const withHead = layerStart + layerCapacity(this.#card, member, { embedding, head: true });
    const layerEnd = end >= layerCount ? Math.min(layerCount, withHead) : end;
    if (layerEnd > layerStart) member.slice = { layerStart, layerEnd };
  }

  /** Bytes of cache over all nodes that hold each layer. */
  #cachePerLayer(): number[] {
    const cache = new Array<number>(this.#card.layerCount).fill(0);
    for (const { capability, slice } of this.#members.values()) {
      if (slice === null) continue;
      const perLayer = (capability.memoryBytes * CACHE_SHARE) / (slice.layerEnd - slice.layerStart);
      for (let layer = slice.layerStart; layer < slice.layerEnd; layer += 1) {
        cache[layer] = (cache[layer] ?? 0) + perLayer;
      }
    }
    return cache;
  }

  #isCovered(): boolean {
    return this.#cachePerLayer().every((bytes) => bytes > 0);
  }

  #variation(): number {
    const cache = this.#cachePerLayer();
    const mean = cache.reduce((total, value) => total + value, 0) / cache.length;
    const variance = cache.reduce((total, value) => total + (value - mean) ** 2, 0) / cache.length;
    return Math.sqrt(variance) / mean;
  }

  #measured(peer: PeerId, stage: StageReport | null): void {
    const member = this.#members.get(peer);
    if (member === undefined || stage === null || stage.steps === 0) return;
    member.layerSeconds = stage.busySeconds / stage.steps / (stage.layerEnd - stage.layerStart);
  }

  #dispatch(): PolicyCommand[] {
    const commands: PolicyCommand[] = [];
    for (const [requestId, exclude] of this.#waiting) {
      const hops = this.#shortestPath(exclude);
      // One that excludes nobody finds no way either: nor does any behind it.
      if (hops === null && exclude.size === 0) break;
      if (hops === null) continue;
      this.#waiting.delete(requestId);
      const members = hops.flatMap(({ peer }) => this.#members.get(peer) ?? []);
      for (const member of members) member.requests += 1;
      this.#running.set(requestId, members);
      commands.push({ type: 'route', requestId, hops });
    }
    return commands;
  }

  /** Least time over (layer, node): each layer on a node that holds it, a round trip wherever the node changes. */
  #shortestPath(exclude: ReadonlySet<PeerId>): Hop[] | null {
    const usable = [...this.#members.values()].filter(
      (member) =>
        member.isReady &&
        member.requests < this.surroundings.maxRequests(this.#card, member) &&
        !exclude.has(member.peer),
    );
    const { layerCount } = this.#card;
    let reached = new Map<Member, Arrival>();
    for (let layer = 0; layer < layerCount; layer += 1) {
      const next = new Map<Member, Arrival>();
      for (const member of usable) {
        if (!holds(member, layer)) continue;
        const seconds = this.#layerSeconds(member);
        const best = layer === 0 ? { seconds: 0, before: null } : this.#bestArrival(member, reached);
        if (best !== null) next.set(member, { seconds: best.seconds + seconds, before: best.before, member });
      }
      reached = next;
    }
    const ends = [...reached.values()];
    if (ends.length === 0) return null;
    return toHops(
      ends.reduce((a, b) => (b.seconds < a.seconds ? b : a)),
      layerCount,
    );
  }

  #bestArrival(
    member: Member,
    reached: ReadonlyMap<Member, Arrival>,
  ): { readonly seconds: number; readonly before: Arrival } | null {
    let best: { readonly seconds: number; readonly before: Arrival } | null = null;
    for (const [other, arrival] of reached) {
      const seconds = arrival.seconds + (other === member ? 0 : this.#roundTrip(other.peer, member.peer));
      if (best === null || seconds < best.seconds) best = { seconds, before: arrival };
    }
    return best;
  }

  #layerSeconds(member: Member): number {
    if (member.layerSeconds === null) return this.#rooflineSeconds(member);
    const load = member.requests / this.surroundings.maxRequests(this.#card, member);
    return member.layerSeconds + FULL_SLOWER_SECONDS * load;
  }

  /** Of one layer for one token. */
  #rooflineSeconds({ capability }: ParallaxNode): number {
    return Math.max(
      this.#card.bytesPerLayer / capability.matvecBytesPerSecond,
      (2 * this.#card.multiplyAddsPerLayer) / capability.matmulFlopsPerSecond,
    );
  }

  #regionOf(peer: PeerId): number {
    const near = this.#regionHeads.findIndex((head) => this.#roundTrip(head, peer) <= REGION_RTT_SECONDS);
    return near >= 0 ? near : this.#regionHeads.push(peer) - 1;
  }

  #roundTrip(a: PeerId, b: PeerId): number {
    return this.#roundTrips.seconds(a, b);
  }

  /** What it had has failed, and must not count as ended later. */
  #forgetRequests(member: Member): void {
    for (const [requestId, members] of this.#running) {
      if (members.includes(member)) {
        this.#running.set(
          requestId,
          members.filter((other) => other !== member),
        );
      }
    }
  }

  #finish(requestId: RequestId): void {
    for (const member of this.#running.get(requestId) ?? []) {
      member.requests -= 1;
    }
    this.#running.delete(requestId);
  }
}

/** A way through the layers up to one of them, which `member` computes. */
interface Arrival {
  readonly seconds: number;
  readonly member: Member;
  readonly before: Arrival | null;
}

function toHops(last: Arrival, layerCount: number): Hop[] {
  const hops: Hop[] = [];
  let layer = layerCount - 1;
  for (let arrival: Arrival | null = last; arrival !== null; arrival = arrival.before) {
    const [next] = hops;
    const { peer } = arrival.member;
    if (next?.peer === peer) hops[0] = { ...next, layerStart: layer };
    else hops.unshift({ peer, layerStart: layer, layerEnd: layer + 1 });
    layer -= 1;
  }
  return hops;
}

function holds({ slice }: Member, layer: number): boolean {
  return slice !== null && slice.layerStart <= layer && layer < slice.layerEnd;
}

function isSame(a: LayerRange | null, b: LayerRange | null): boolean {
  return a?.layerStart === b?.layerStart && a?.layerEnd === b?.layerEnd;
}
