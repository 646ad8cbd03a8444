import type { SkeinError } from '../../src/protocol/errors.ts';
import type { PeerId, RequestId } from '../../src/protocol/ids.ts';
import type { Hop } from '../../src/protocol/route.ts';
import type { Capability, LinkReport, ModelCard, StageReport } from '../../src/protocol/signaling.ts';
import type { Assignment, LayerRange } from '../../signaling/scheduler/types.ts';
import type { RetryRule } from './retry-rule.ts';

/** How a peer turns the work that waits for it into steps. */
export type Batching =
  /** One request's rows in each step, in order of arrival; requests share nothing. */
  | {
      readonly kind: 'separate';
      /** Null: a whole prompt is one step. */ readonly prefillChunkRows: number | null;
    }
  /** Rows of many requests in each step. */
  | {
      readonly kind: 'continuous';
      /** What fills a step first when both wait: next tokens of answers, or prompts. */
      readonly first: 'decode' | 'prefill';
      /** Rows of one step, and requests of one step. */
      readonly maxRows: number;
      readonly maxSequences: number;
      /** Rows of one prompt in one step; null: as many as `maxRows` allows. */
      readonly prefillChunkRows: number | null;
      /**
       * `share`: a step takes no more answers than one of the hops + 1 batches that keep all stages of a route busy.
       * `all`: a step takes whatever waits, so batches merge whenever they meet.
       */
      readonly decodeRows: 'share' | 'all';
    };

/**
 * When a request takes room in the caches of its hops.
 * `as-it-grows`: block by block on each peer; when a peer runs out, its youngest request loses its blocks there and is
 * computed again there later, from the inputs that the peer kept.
 * `in-advance`: prompt and longest answer, on all hops at once, before anything is computed; who finds no room on a hop is
 * told so, and asks again.
 */
export type CacheUse = 'as-it-grows' | 'in-advance';

/**
 * What becomes of a request when one of its hops dies.
 * `lost`: it ends without its answer.
 * `restart`: it is asked again from the beginning; the tokens so far are thrown away.
 * `prefill-again`: another route computes prompt and tokens so far again, and the answer goes on.
 * `replay`: as before, but hops of the new route that are the same as in the old one keep their cache; the requester
 * sends the others what the old hop had received.
 */
export type AfterLoss = 'lost' | 'restart' | 'prefill-again' | 'replay';

/** From the death of a hop to its requests noticing, and to the policy being told (`lost`): evenly between two bounds. */
export interface NoticeSeconds {
  readonly request: readonly [least: number, most: number];
  readonly policy: readonly [least: number, most: number];
}

/** Nobody is told: links are given up after a silence, as WebRTC and connections that are kept alive do after half a minute. */
export const SILENCE_SECONDS: readonly [number, number] = [15, 30];

/** What a system does with requests, whatever it decides about peers and routes. */
export interface PolicyTraits {
  readonly batching: Batching;
  readonly cacheUse: CacheUse;
  /** `stage`: the cache is as large as Skein's own stages allocate it; else the share of the memory beside the weights that it may fill. */
  readonly cacheRoom: 'stage' | { readonly share: number };
  /** Requests that are open on a peer at once, waiting ones included; who comes beyond is told that it is busy. */
  readonly maxOpenRequests: number;
  readonly afterLoss: AfterLoss;
  /** By how a hop dies: its program ended and its sockets closed, or not another word comes from it. */
  readonly notice: { readonly closed: NoticeSeconds; readonly vanished: NoticeSeconds };
  /** The way of a token to the first hop: straight from the last, or by way of the requester. */
  readonly ring: 'straight' | 'by-requester';
  /** How often a requester asks again that was refused, and how long it waits at first; every wait is twice as long, up to the longest. */
  readonly retry: {
    readonly attempts: number;
    readonly firstSeconds: number;
    readonly longestSeconds: number;
  };
}

/** What the simulator tells a policy. Peers are named by id only; what they are like is in `join` and `measured`. */
export type PolicyEvent =
  /** Also sent again by a peer that was here before; then `cached` names the slices whose weights it still has. */
  | {
      readonly type: 'join';
      readonly peer: PeerId;
      /** As the peer measured or claims it: off by some, or a lie. `adapter` is the name of its GPU. */
      readonly claim: Capability;
      /** What a speed test says of its connection: the lower of uplink and downlink. */
      readonly bytesPerSecond: number;
      readonly cached: readonly Assignment[];
      readonly serverRttSeconds: number;
    }
  /** The slice that it was last told to load is loaded, and answers. */
  | { readonly type: 'serving'; readonly peer: PeerId; readonly slice: LayerRange }
  /** Says that it will go; it answers what it has begun for as long as the scenario lets it, and then `lost` follows. */
  | { readonly type: 'leave'; readonly peer: PeerId }
  /** It is gone, politely or not. */
  | { readonly type: 'lost'; readonly peer: PeerId }
  /** Every few seconds from every peer: what it did since the last time (null while it holds no slice), and links that it used or was asked to probe. */
  | {
      readonly type: 'measured';
      readonly peer: PeerId;
      readonly stage: StageReport | null;
      readonly links: readonly LinkReport[];
      readonly serverRttSeconds: number;
    }
  /** Wants a route. Comes again, with `attempt` one higher, after a loss or a refusal. */
  | {
      readonly type: 'request';
      readonly requestId: RequestId;
      /** Who asks: no contributor, one for each request. */
      readonly requester: PeerId;
      /** Rows to compute before the next token: the prompt, and what was answered before a loss. */
      readonly promptTokens: number;
      /** Of the answer, from here on, at most; how many it will be nobody knows. */
      readonly maxTokens: number;
      readonly attempt: number;
      /** Hops that failed this request. */
      readonly exclude: readonly PeerId[];
      /** The route that failed; empty at first. */
      readonly previous: readonly Hop[];
    }
  /** The request needs nothing more: answered, lost, or given up. Null when no second token came over its last route. */
  | {
      readonly type: 'ended';
      readonly requestId: RequestId;
      readonly requester: PeerId;
      readonly outcome: { readonly tokens: number; readonly seconds: number } | null;
    }
  /** Once a second. */
  | { readonly type: 'tick' };

/** What a policy answers, carried out in order after the time a message takes. */
export type PolicyCommand =
  /** Load this slice in place of what is held; null frees it. A peer serves nothing while it loads. */
  | { readonly type: 'assign'; readonly peer: PeerId; readonly slice: LayerRange | null }
  /**
   * The hops of a request: contiguous from layer 0 to the last, each within the slice that its peer serves. A hop that
   * does not serve its layers when the request gets there fails the request as a loss does.
   */
  | { readonly type: 'route'; readonly requestId: RequestId; readonly hops: readonly Hop[] }
  /** The requester asks again later, or gives up when it has asked often enough. `error`: the words that `retryRule` goes by. */
  | {
      readonly type: 'refuse';
      readonly requestId: RequestId;
      readonly reason: 'busy' | 'no-route';
      readonly error?: SkeinError;
    }
  /** Asks a peer for its round trips to these, in its next `measured`. */
  | { readonly type: 'probe'; readonly peer: PeerId; readonly peers: readonly PeerId[] };

/**
 * A way to run a mesh. A request that gets neither `route` nor `refuse` is queued by the policy, which routes it at some
 * later event.
 */
export interface Policy {
  readonly name: string;
  readonly traits: PolicyTraits;
  /** What requesters do after a loss or a refusal, where `traits.retry` is too simple for it. */
  readonly retryRule?: RetryRule;
  /** @param nowSeconds of the virtual clock, which starts at 0. */
  handle(event: PolicyEvent, nowSeconds: number): readonly PolicyCommand[];
}

/** What a policy knows from the start. */
export interface PolicyContext {
  readonly card: ModelCard;
  /** 0 ≤ x < 1; the policy's own stream, the same in every run of one seed. */
  readonly random: () => number;
  /**
   * A ping right now, as noisy as pings are, from a peer or a requester to another. For policies that are known to
   * measure before they decide; costs them no time here.
   */
  readonly pingSeconds: (from: PeerId, to: PeerId) => number;
}

export type PolicyFactory = (context: PolicyContext) => Policy;
