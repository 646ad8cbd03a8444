import type { Clock } from '../protocol/clock.ts';
import type { SkeinError } from '../protocol/errors.ts';
import type { ModelId, PeerId, RequestId } from '../protocol/ids.ts';
import type { Route } from '../protocol/route.ts';
import type { SamplingParams, TokenLogProbability } from '../protocol/sampling.ts';
import type { FrameTransport } from '../protocol/transport.ts';
import type { ChatMessage, Tokenizer } from '../tokenizer/tokenizer.ts';
import type { Reroute } from './request-state.ts';

/** Long enough for a long answer on a slow mesh; short enough that a forgotten one frees its caches within the hour. */
export const DEFAULT_TIME_LIMIT_MS = 30 * 60 * 1000;

export type Prompt =
  | { readonly kind: 'chat'; readonly messages: readonly ChatMessage[] }
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'ids'; readonly ids: readonly number[] };

export interface GenerateRequest {
  readonly model: ModelId;
  readonly prompt: Prompt;
  /** Tokens of the answer, at most. */
  readonly maxTokens: number;
  /** Tokens of prompt and answer together that stages hold, where known: the answer is cut to what is left. */
  readonly contextTokens?: number;
  readonly sampling: SamplingParams;
  /** The answer ends before the first of these. */
  readonly stopStrings?: readonly string[];
  /** Makes text of the tokens in place of what looks for `stopStrings`, and may end the answer. For one generation. */
  readonly reader?: AnswerReader;
  /**
   * A structural tag of xgrammar as JSON text, which the answer keeps to; it then has at most MAX_HISTORY_TOKENS tokens, so that
   * another route can go on with it. A stage that cannot make a grammar of it refuses the request with `bad-argument`.
   */
  readonly constraint?: string;
  /** For the whole answer, waiting included. Default: DEFAULT_TIME_LIMIT_MS. */
  readonly timeLimitMs?: number;
}

/** What makes text of the tokens of an answer while they come. */
export interface AnswerReader {
  /** @param tokenId no stop token. @returns the text that can be shown now. */
  push(tokenId: number): string;
  /** Ends the answer. @returns what was held back. */
  flush(): string;
  /** Once true, the answer is over. */
  readonly stopped: boolean;
  /** The text so far. */
  readonly text: string;
}

/** What a generation needs of the world. No GPU and no WebRTC: those are behind the transport. */
export interface GenerateDeps {
  readonly transport: FrameTransport;
  readonly tokenizer: Tokenizer;
  /**
   * Asks the scheduler, and waits while the mesh is full.
   * @param onQueued hears the request's place in the queue and every change of it; 1 is next.
   * @throws SkeinError `no-route` or `busy`.
   */
  requestRoute(
    query: {
      model: ModelId;
      requestId: RequestId;
      epoch: number;
      exclude: readonly PeerId[];
      /** Of prompt and answer, at most. */
      tokens: number;
      /** What is left of the answer's time. */
      timeLimitMs: number;
    },
    signal: AbortSignal,
    onQueued: (position: number) => void,
  ): Promise<Route>;
  /**
   * Tells the scheduler that the route, or the place in the queue, is free again.
   * @param outcome of the last route: tokens after the first, and the time they took; absent when there were none.
   */
  endRoute(requestId: RequestId, outcome?: { readonly tokens: number; readonly seconds: number }): void;
  /** Tells the scheduler that a hop of the request's route failed it. */
  suspect?(requestId: RequestId, peer: PeerId, error: SkeinError): void;
  /** Of the routes' deadlines; the system's by default. */
  readonly clock?: Clock;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
  /** Resolves after the time, rejects on abort. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

export type GenerateEvent =
  /** The mesh is full, and this is the answer's place in the queue; 1 is next. Again whenever it changes. */
  | { readonly type: 'queued'; readonly position: number }
  /** The tabs that compute the answer from here on; again after every re-route, with what was lost and the pause so far. */
  | { readonly type: 'route'; readonly route: Route; readonly reroute: Reroute | null }
  /**
   * Nothing can happen now; a route of the next `epoch` is asked for after `delayMs`. `reroute` says which hop left, and why, and
   * how long ago; it is null where there was no route to lose.
   */
  | {
      readonly type: 'waiting';
      readonly error: SkeinError;
      readonly epoch: number;
      readonly delayMs: number;
      readonly reroute: Reroute | null;
    }
  /** Tokens come again after these losses: with the next event. */
  | { readonly type: 'resumed'; readonly reroutes: readonly Reroute[] }
  /** `text` is what may be shown: empty while a character or a stop string is incomplete. */
  | {
      readonly type: 'token';
      readonly tokenId: number;
      /** Of the model's unmodified distribution, as those of the most probable tokens. */
      readonly logProbability: number;
      /** As many as were asked for, but for tokens of no probability; most probable first. */
      readonly topLogProbabilities: readonly TokenLogProbability[];
      readonly text: string;
    }
  | { readonly type: 'done'; readonly result: GenerateResult };

export interface GenerateResult {
  readonly text: string;
  /** Every sampled token, a final stop token included. */
  readonly tokenIds: readonly number[];
  readonly promptTokens: number;
  /** Tokens that no hop of the last route computed again, because they were in its caches; of the answer too, after a re-route. */
  readonly cachedTokens: number;
  /** `stop`: a stop token or a stop string; `length`: `maxTokens` were reached. */
  readonly finishReason: 'stop' | 'length';
  readonly timeToFirstTokenMs: number;
  /** Routes that were lost on the way, the latest MAX_TOLD_REROUTES, and what that cost. */
  readonly reroutes: readonly Reroute[];
  /** Tokens that came twice, too late, or from a route that was given up. */
  readonly droppedTokens: number;
  /** Decode speed: tokens after the first, over the time they took. Null for an answer of one token. */
  readonly tokensPerSecond: number | null;
}
