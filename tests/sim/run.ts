import type { PeerId, RequestId } from '../../src/protocol/ids.ts';
import type { Hop } from '../../src/protocol/route.ts';
import type { RetryState } from '../../src/client/retry.ts';
import type { RequestLength } from './lengths.ts';
import type { Endpoint } from './network.ts';

export type RequestState =
  /** Between routes: asking, queued, or waiting to ask again. */
  | 'asking'
  | 'running'
  | 'answered'
  /** It ended without its whole answer after it had a route. */
  | 'lost'
  /** It never got a route. */
  | 'refused';

/** A question on its way to its answer. */
export interface SimulatedRequest extends RequestLength {
  readonly id: RequestId;
  readonly requester: PeerId;
  readonly endpoint: Endpoint;
  readonly arrivedAt: number;
  /** Of the answer, at most, as the policy is told. */
  readonly maxTokens: number;
  state: RequestState;
  /** Tokens that the requester has, or that are on their way to it. */
  tokens: number;
  /** The most it ever had; more than `tokens` after a restart. */
  mostTokens: number;
  firstTokenAt: number;
  endedAt: number;
  /** Times a hop died under it. */
  losses: number;
  /** Failures since the last token, and whom it asks not to be routed over. */
  retry: RetryState;
  everRouted: boolean;
  run: Run | null;
}

/** A request on one route. */
export interface Run {
  readonly request: SimulatedRequest;
  readonly hops: readonly Hop[];
  /** Order of starting: where cache is short, the older goes first. */
  readonly age: number;
  /** Rows to compute before its first token: the prompt, and what was answered before. */
  readonly promptRows: number;
  /** When its first and its latest token got to the requester. */
  firstTokenAt: number;
  lastTokenAt: number;
  tokens: number;
  isOver: boolean;
}
