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
  readonly capability: Capability;
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
}

export interface Placement {
  /** Every peer with work; a peer of the input that is missing here waits. */
  readonly assignments: ReadonlyMap<PeerId, Assignment>;
  /** What was decided and why, in sentences for the operator's log. */
  readonly why: readonly string[];
  /** For every model without full coverage: what is missing and what would help, as half a sentence. */
  readonly missing: ReadonlyMap<ModelId, string>;
}

/** A peer whose slice is loaded and answers. */
export interface ServingMember extends SchedulerNode, LayerRange {
  /** Requests that were given a route over this peer and have not ended. */
  readonly inFlight: number;
}

export interface RouteInput {
  readonly card: ModelCard;
  /** Members that serve this model, in order of arrival, which decides between equals. */
  readonly members: readonly ServingMember[];
  readonly exclude: ReadonlySet<PeerId>;
}

/** Decides who holds what (phase 1) and who computes a request (phase 2). Pure: the same input gives the same answer. */
export interface Scheduler {
  place(input: PlacementInput): Placement;
  /** @returns the hops from layer 0 to the head, or null when the members cannot be chained. */
  findRoute(input: RouteInput): readonly Hop[] | null;
}
