import type { PeerId, RequestId } from '../../../../src/protocol/ids.ts';
import type { ModelCard } from '../../../../src/protocol/signaling.ts';
import type { Hop } from '../../../../src/protocol/route.ts';
import type { LayerRange } from '../../../../signaling/scheduler/types.ts';
import { SILENCE_SECONDS } from '../../policy.ts';
import type { Policy, PolicyCommand, PolicyEvent, PolicyFactory, PolicyTraits } from '../../policy.ts';
import {
  allocatePipelines,
  CACHE_SHARE,
  isFull,
  SHIPPED_SCORE,
  waterFill,
  WEIGHTS_SHARE,
} from './allocation.ts';
import type { ParallaxNode } from './allocation.ts';

export const PARALLAX_TRAITS: PolicyTraits = {
  batching: {
    kind: 'continuous',
    first: 'prefill',
    maxRows: 16_384,
    maxSequences: 256,
    prefillChunkRows: 1024,
    decodeRows: 'all',
  },
  cacheUse: 'as-it-grows',
  cacheRoom: { share: CACHE_SHARE / (1 - WEIGHTS_SHARE) },
  maxOpenRequests: Infinity,
  afterLoss: 'lost',
  // The scheduler misses heartbeats for 30 s; a broken stream is noticed at once.
  notice: {
    closed: { request: [0, 1], policy: [30, 30] },
    vanished: { request: SILENCE_SECONDS, policy: [30, 30] },
  },
  ring: 'straight',
  retry: { attempts: 5, firstSeconds: 1, longestSeconds: 5 },
};

interface Member extends ParallaxNode {
  slice: LayerRange | null;
  isReady: boolean;
  requests: number;
}

/**
 * Parallax as its repository ships it: disjoint pipelines by dynamic programming, requests round robin over them. When a
 * node leaves, its pipeline is given up and the survivors stand by; they get work again when a node joins, or when no
 * whole pipeline is left. Requests of a broken pipeline are lost.
 */
export const parallaxShipped: PolicyFactory = ({ card }) => new ShippedParallax(card);

class ShippedParallax implements Policy {
  readonly name = 'parallax-shipped';
  readonly traits = PARALLAX_TRAITS;
  readonly #card: ModelCard;
  /** In order of arrival. */
  readonly #members = new Map<PeerId, Member>();
  #pipelines: Member[][] = [];
  #next = 0;
  /** In order of arrival. */
  readonly #waiting = new Set<RequestId>();
  readonly #running = new Map<RequestId, readonly Member[]>();

  constructor(card: ModelCard) {
    this.#card = card;
  }

  handle(event: PolicyEvent): readonly PolicyCommand[] {
    switch (event.type) {
      case 'join':
        this.#members.set(event.peer, {
          peer: event.peer,
          capability: event.claim,
          slice: null,
          isReady: false,
          requests: 0,
        });
        return this.#allocate();
      case 'leave':
      case 'lost':
        return this.#remove(event.peer);
      case 'serving': {
        const member = this.#members.get(event.peer);
        if (member !== undefined && member.slice !== null) member.isReady = true;
        return this.#dispatch();
      }
      case 'request':
        this.#waiting.add(event.requestId);
        this.#finish(event.requestId);
        return this.#dispatch();
      case 'ended':
        this.#waiting.delete(event.requestId);
        this.#finish(event.requestId);
        return this.#dispatch();
      default:
        return [];
    }
  }

  /** New pipelines of nodes that stand by. */
  #allocate(): PolicyCommand[] {
    const standby = [...this.#members.values()].filter(({ slice }) => slice === null);
    const commands: PolicyCommand[] = [];
    for (const nodes of allocatePipelines(this.#card, standby, SHIPPED_SCORE)) {
      const slices = waterFill(this.#card, nodes);
      if (slices === null) continue;
      const pipeline = [...slices].flatMap(([peer, slice]) => {
        const member = this.#members.get(peer);
        if (member === undefined) return [];
        Object.assign(member, { slice, isReady: false, requests: 0 });
        commands.push({ type: 'assign', peer, slice });
        return [member];
      });
      this.#pipelines.push(pipeline);
    }
    return commands;
  }

  #remove(peer: PeerId): PolicyCommand[] {
    const left = this.#members.get(peer);
    if (left === undefined) return [];
    this.#members.delete(peer);
    const broken = this.#pipelines.find((pipeline) => pipeline.includes(left));
    if (broken === undefined) return [];
    this.#pipelines = this.#pipelines.filter((pipeline) => pipeline !== broken);
    for (const member of broken) Object.assign(member, { slice: null, isReady: false, requests: 0 });
    // What they had has failed, and must not count as ended later.
    for (const [requestId, pipeline] of this.#running) {
      if (pipeline === broken) this.#running.delete(requestId);
    }
    // Only a mesh without any whole pipeline is allocated anew.
    return this.#pipelines.length === 0 ? this.#allocate() : [];
  }

  #dispatch(): PolicyCommand[] {
    const commands: PolicyCommand[] = [];
    for (const requestId of this.#waiting) {
      const pipeline = this.#nextPipeline();
      if (pipeline === null) break;
      this.#waiting.delete(requestId);
      this.#running.set(requestId, pipeline);
      for (const member of pipeline) member.requests += 1;
      commands.push({ type: 'route', requestId, hops: pipeline.flatMap(hopOf) });
    }
    return commands;
  }

  /** The next that is ready and has room, round robin. */
  #nextPipeline(): Member[] | null {
    const count = this.#pipelines.length;
    const inTurn = this.#pipelines.map((_, index) => (this.#next + index) % count);
    const chosen = inTurn.find((index) =>
      this.#pipelines[index]?.every((member) => member.isReady && !isFull(this.#card, member)),
    );
    if (chosen === undefined) return null;
    this.#next = chosen + 1;
    return this.#pipelines[chosen] ?? null;
  }

  #finish(requestId: RequestId): void {
    for (const member of this.#running.get(requestId) ?? []) {
      member.requests -= 1;
    }
    this.#running.delete(requestId);
  }
}

function hopOf({ peer, slice }: Member): Hop[] {
  return slice === null ? [] : [{ peer, ...slice }];
}
