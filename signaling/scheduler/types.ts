import type { ModelId, PeerId } from '../../src/protocol/ids.ts';
import type { Hop } from '../../src/protocol/route.ts';
import type { Capability, ModelCard } from '../../src/protocol/signaling.ts';

/** Layers `[layerStart, layerEnd)`. */
export interface LayerRange {
  readonly layerStart: number;
  readonly layerEnd: number;
}

/** The slice of a model that one peer is told to hold. */
export interface Assignment extends LayerRange {
  readonly model: ModelId;
}

/** A peer that lends its device, with what it measured about itself. */
export interface SchedulerNode {
  readonly peer: PeerId;
  /** As the server believes it: measured, smoothed, and capped. */
  readonly capability: Capability;
  /** The cluster of near peers it belongs to: an index into `Network.regionRttSeconds`. */
  readonly region: number;
  /** Slices whose weights it still has, so that it loads them without a download. */
  readonly cached: readonly Assignment[];
}

/** What is known of the way between two peers. */
export interface Link {
  readonly rttSeconds: number;
  /** Null before enough was sent to tell. */
  readonly bytesPerSecond: number | null;
}

/** Round trips between peers: measured where two of them are linked, and else that between their regions. */
export interface Network {
  /** Seconds, [region][region], symmetrical; the diagonal is the round trip between two peers of one region. */
  readonly regionRttSeconds: readonly (readonly number[])[];
  /** By the peer with the smaller id, then by the other. */
  readonly links: ReadonlyMap<PeerId, ReadonlyMap<PeerId, Link>>;
}

/**
 * Over how many peers one copy of a model is split: `auto` is the fewest that hold it in memory, a number is exactly
 * that many.
 */
export type StagePolicy = 'auto' | number;

export interface PlacementInput {
  /** In order of importance: an earlier model is covered before a later one. */
  readonly models: readonly ModelCard[];
  /** In order of arrival, which decides between equals. */
  readonly nodes: readonly SchedulerNode[];
  readonly current: ReadonlyMap<PeerId, Assignment>;
  readonly stages: StagePolicy;
  readonly network: Network;
  /** Peers whose owners want them to hold these layers and no others. Absent where there are none, which is nearly always. */
  readonly wishes?: ReadonlyMap<PeerId, Assignment>;
}

/** What a placement can do for one model when it is saturated, and for one request when it is idle. */
export interface Prediction {
  /** Over all requests: the greatest flow of tokens from layer 0 to the head. */
  readonly tokensPerSecond: number;
  /** Of one decode step of one request alone, hops included; Infinity while the model is not whole. */
  readonly secondsPerToken: number;
}

export interface Placement {
  /** Every peer with work; a peer of the input that is missing here waits. */
  readonly assignments: ReadonlyMap<PeerId, Assignment>;
  /** What was decided and why, in sentences for the operator's log. */
  readonly why: readonly string[];
  /** For every model without full coverage: what is missing and what would help, as half a sentence. */
  readonly missing: ReadonlyMap<ModelId, string>;
  readonly predicted: ReadonlyMap<ModelId, Prediction>;
}

export interface RebalanceInput extends PlacementInput {
  /** Share of the last seconds in which each serving peer computed, 0 to 1; who holds a slice and has none is left alone. */
  readonly busyShares: ReadonlyMap<PeerId, number>;
  /** False while nobody can be answered: then who loads may be told to load something else. */
  readonly isServed?: boolean;
}

/** A peer whose slice is loaded and answers. */
export interface ServingMember extends SchedulerNode, LayerRange {
  /** Requests that were given a route over this peer and have not ended. */
  readonly inFlight: number;
  /** Tokens of cache those requests may come to take. */
  readonly reservedTokens: number;
  /** Tokens of cache the peer has for all its requests together. */
  readonly cacheTokens: number;
  /** Measured time of its steps over the predicted: 1 where nothing was measured yet, 2 for half as fast as it claimed. */
  readonly pace: number;
}

export interface RouteInput {
  readonly card: ModelCard;
  /** Members that serve this model, in order of arrival, which decides between equals. */
  readonly members: readonly ServingMember[];
  readonly exclude: ReadonlySet<PeerId>;
  readonly network: Network;
  /** Region of who asks, where known: tokens travel to it, and its prompt from it. */
  readonly requesterRegion: number | null;
  /** Of prompt and answer: the cache it may come to take on each hop. */
  readonly tokens: number;
  /** The hops that computed this requester's last request on the model and may still have its prefix; empty if none. */
  readonly previous: readonly Hop[];
}

/** `full`: a route would exist, but for the load; `none`: nobody serves some layer. */
export type RouteDecision =
  | {
      readonly kind: 'route';
      /** From layer 0 to the head. */
      readonly hops: readonly Hop[];
      /** Predicted time of one decode step over it, queueing included. */
      readonly secondsPerToken: number;
    }
  | { readonly kind: 'full' }
  | { readonly kind: 'none' };

/** Decides who holds what (phase 1) and who computes a request (phase 2). Pure: the same input gives the same answer. */
export interface Scheduler {
  place(input: PlacementInput): Placement;
  /**
   * Whether moving peers pays. @returns the next moves, none of which uncovers a layer, or null when things are well as
   * they are. To be asked again once they are made.
   */
  rebalance(input: RebalanceInput): Placement | null;
  findRoute(input: RouteInput): RouteDecision;
}
