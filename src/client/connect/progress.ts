import type { ErrorCode, SkeinError } from '../../protocol/errors.ts';

/** How the connection to the server fares, and what is loaded over it. */
export type MeshProgress =
  | { readonly type: 'connecting' }
  /** To a server that offers these models. */
  | { readonly type: 'connected'; readonly models: readonly string[] }
  /** The server is away. Answers under way go on; the next attempt to reach it comes after `retryInMs`. */
  | { readonly type: 'reconnecting'; readonly error: SkeinError; readonly retryInMs: number }
  /** The server knows this client no more; it connects anew after `retryInMs`, and answers under way go on then. */
  | { readonly type: 'offline'; readonly error: SkeinError; readonly retryInMs: number }
  /** Of the model in the folder `url`, before its first answer. */
  | { readonly type: 'loading-tokenizer'; readonly url: string };

/** A tab or program that computes layers `[layerStart, layerEnd)` of an answer. */
export interface RouteHop {
  readonly peer: string;
  readonly layerStart: number;
  readonly layerEnd: number;
}

/** A route that was lost, and what that cost. */
export interface LostRoute {
  /** Counts the routes of an answer. */
  readonly epoch: number;
  /** Who left or failed; null where nobody can be named. */
  readonly peer: string | null;
  readonly code: ErrorCode;
  readonly phase: 'prefilling' | 'decoding';
  /** To the next token; so far, while there was none. */
  readonly pauseMs: number;
}

/** How an answer fares on the mesh. */
export type AnswerProgress = {
  /** That of its objects and chunks. */
  readonly id: string;
  /** Which of `n`. */
  readonly choice: number;
} &
  /** The mesh is full; place 1 is next. */
  (
    | { readonly type: 'queued'; readonly position: number }
    /** These compute the answer. */
    | { readonly type: 'route'; readonly hops: readonly RouteHop[] }
    /** These do from here on, after a route was lost. */
    | { readonly type: 'rerouted'; readonly hops: readonly RouteHop[]; readonly lost: LostRoute }
    /** Nothing can happen now; a route is asked for again after `delayMs`. `lost` is null where there was no route to lose. */
    | {
        readonly type: 'waiting';
        readonly error: SkeinError;
        readonly delayMs: number;
        readonly lost: LostRoute | null;
      }
    /** Tokens come again after these losses. */
    | { readonly type: 'resumed'; readonly lost: readonly LostRoute[] }
  );

export type Progress = MeshProgress | AnswerProgress;
/** What it throws is reported as an uncaught error, and is nothing to the answer. */
export type ProgressListener<Told = Progress> = (progress: Told) => void;
