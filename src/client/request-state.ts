import type { ErrorCode, SkeinError } from '../protocol/errors.ts';
import type { PeerId } from '../protocol/ids.ts';
import type { Route } from '../protocol/route.ts';
import type { TokenLogProbability } from '../protocol/sampling.ts';
import { FIRST_ATTEMPT } from './retry.ts';
import type { RetryState } from './retry.ts';
import { TokenLog } from './token-log.ts';

/** What a request is asked for once; it never changes. */
export interface RequestFacts {
  readonly promptTokens: number;
  /** Tokens of the answer, at most. */
  readonly maxTokens: number;
  readonly stopTokenIds: readonly number[];
  /** Whether the answer has to keep to something; not when left out. */
  readonly isConstrained?: boolean;
}

/** A route that was lost, and what that cost. */
export interface Reroute {
  /** The epoch that failed. */
  readonly epoch: number;
  /** Who left or was found wrong; null where nobody can be named. */
  readonly peer: PeerId | null;
  readonly code: ErrorCode;
  readonly phase: 'prefilling' | 'decoding';
  /** From the moment the fault was seen here to the next token; so far, while there was none. */
  readonly pauseMs: number;
}

/** A peer that the next routes have to do without. */
export interface Exclusion {
  readonly peer: PeerId;
  readonly code: ErrorCode;
  /** Who said so; null where it was seen from here. */
  readonly accuser: PeerId | null;
}

/** A loss that no token followed yet. */
export interface OpenLoss {
  readonly reroute: Omit<Reroute, 'pauseMs'>;
  readonly sinceMs: number;
}

/** What goes on over all routes of a request. */
export interface Progress {
  readonly facts: RequestFacts;
  /** The answer so far. */
  readonly log: TokenLog;
  /** The epoch, which counts routes, and what the next one is asked for. */
  readonly retry: RetryState;
  /** Why peers are excluded; peers that `retry` forgot are not in it. */
  readonly exclusions: readonly Exclusion[];
  /** Hops that said that another is at fault, since the last token, once for each time. */
  readonly accusers: readonly PeerId[];
  /** Whether hops may go on with what they have of earlier epochs: not once values were wrong, for what is wrong may be kept. */
  readonly keepsCache: boolean;
  /** Whether a hop said that no route could help. */
  readonly wasRefused: boolean;
  readonly losses: readonly OpenLoss[];
  /** Those that are over; the latest MAX_TOLD_REROUTES. */
  readonly reroutes: readonly Reroute[];
  /** Tokens that came twice, too late, or from a route that was given up. */
  readonly droppedTokens: number;
}

/**
 * Where a request is: open → prefilling → decoding → rerouting → … → done, failed or aborted. In `open` and `rerouting` it
 * waits for a route, in the server's queue or until it asks again.
 */
export type RequestState =
  /** No route yet. */
  | { readonly phase: 'open'; readonly progress: Progress; readonly wait: 'route' | 'delay' }
  /** A route computes the prompt and the tokens so far. */
  | { readonly phase: 'prefilling'; readonly progress: Progress; readonly route: Route }
  /** Tokens come over this route. */
  | { readonly phase: 'decoding'; readonly progress: Progress; readonly route: Route }
  /** A route was lost. */
  | { readonly phase: 'rerouting'; readonly progress: Progress; readonly wait: 'route' | 'delay' }
  | { readonly phase: 'done'; readonly progress: Progress; readonly finishReason: 'stop' | 'length' }
  | { readonly phase: 'failed'; readonly progress: Progress; readonly error: SkeinError }
  | { readonly phase: 'aborted'; readonly progress: Progress };

/** A token as a route delivered it. */
export interface SampledToken {
  readonly tokenId: number;
  /** In the sequence of prompt and answer. */
  readonly position: number;
  /** Of the model's unmodified distribution, as those of the most probable tokens. */
  readonly logProbability: number;
  /** As many as were asked for, but for tokens of no probability; most probable first. */
  readonly topLogProbabilities: readonly TokenLogProbability[];
}

/** What happens to a request. What comes of a route or of a wait says of which epoch it is; that of others is late. */
export type RequestHappening =
  | { readonly type: 'queued'; readonly epoch: number; readonly position: number }
  | { readonly type: 'routed'; readonly epoch: number; readonly route: Route }
  | { readonly type: 'unrouted'; readonly epoch: number; readonly error: SkeinError }
  /** The pause before the next attempt is over. */
  | { readonly type: 'woke'; readonly epoch: number }
  | { readonly type: 'token'; readonly epoch: number; readonly token: SampledToken }
  /** The route is lost. `accuser` is who said so, null where it was seen from here. */
  | {
      readonly type: 'lost';
      readonly epoch: number;
      readonly error: SkeinError;
      readonly accuser: PeerId | null;
    }
  /** The text of the answer reached a stop string. */
  | { readonly type: 'stop-string' }
  | { readonly type: 'time-up'; readonly error: SkeinError }
  /** The caller wants it no more. */
  | { readonly type: 'abort' };

/** And when. */
export type RequestEvent = RequestHappening & { readonly atMs: number };

/** What has to be done about it, in order. */
export type RequestEffect =
  | { readonly type: 'ask'; readonly epoch: number; readonly exclude: readonly PeerId[] }
  | { readonly type: 'pause'; readonly epoch: number; readonly delayMs: number }
  /** Opens the route with the prompt and the tokens so far. */
  | { readonly type: 'start'; readonly route: Route; readonly keepsCache: boolean }
  /** The route's session ends; its hops are not told, for they may be of use to the next. */
  | { readonly type: 'leave' }
  | { readonly type: 'suspect'; readonly peer: PeerId; readonly error: SkeinError }
  /** The next token of the answer. */
  | {
      readonly type: 'take';
      readonly token: SampledToken;
      readonly isStopToken: boolean;
      readonly atMs: number;
    }
  | { readonly type: 'tell-queued'; readonly position: number }
  | { readonly type: 'tell-route'; readonly route: Route; readonly reroute: Reroute | null }
  | {
      readonly type: 'tell-waiting';
      readonly epoch: number;
      readonly error: SkeinError;
      readonly delayMs: number;
      readonly reroute: Reroute | null;
    }
  /** Tokens come again, after these losses. */
  | { readonly type: 'tell-resumed'; readonly reroutes: readonly Reroute[] };

export interface Step {
  readonly state: RequestState;
  readonly effects: readonly RequestEffect[];
}

/** A request before anything was asked of anybody. */
export function beginRequest(facts: RequestFacts): Step {
  const progress: Progress = {
    facts,
    log: TokenLog.empty(),
    retry: FIRST_ATTEMPT,
    exclusions: [],
    accusers: [],
    keepsCache: true,
    wasRefused: false,
    losses: [],
    reroutes: [],
    droppedTokens: 0,
  };
  const { epoch, exclude } = FIRST_ATTEMPT;
  return { state: { phase: 'open', progress, wait: 'route' }, effects: [{ type: 'ask', epoch, exclude }] };
}

/** Nothing changes any more. */
export function isOver(
  state: RequestState,
): state is Extract<RequestState, { phase: 'done' | 'failed' | 'aborted' }> {
  return state.phase === 'done' || state.phase === 'failed' || state.phase === 'aborted';
}

/** The latest loss that no token followed yet. */
export function lossSoFar({ losses }: Progress, nowMs: number): Reroute | null {
  const [first] = losses;
  const last = losses.at(-1);
  if (first === undefined || last === undefined) return null;
  return { ...last.reroute, pauseMs: nowMs - first.sinceMs };
}
