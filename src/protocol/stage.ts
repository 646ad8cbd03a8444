import * as v from 'valibot';
import { constraintSchema } from './constraint.ts';
import { MAX_BLOCK_HASHES, MAX_SEQUENCE_TOKENS, MAX_STOP_TOKENS, MAX_TIME_LIMIT_MS } from './limits.ts';
import { peerIdSchema, routeSchema } from './route.ts';
import { requestHistorySchema, samplingSchema } from './sampling.ts';
import type { TokenLogProbability } from './sampling.ts';
import type { SkeinError } from './errors.ts';
import type { RequestId } from './ids.ts';

/** Tokens of a cache block, and of a block hash: requester and stages cut a prompt alike. */
export const BLOCK_TOKENS = 16;

const tokenId = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xffff_ffff));
/** Of a prefix of blocks, in order: 128 bits each, as 32 lower-case hex characters. @see BlockHashChain */
export const blockHashesSchema = v.pipe(
  v.array(v.pipe(v.string(), v.regex(/^[0-9a-f]{32}$/))),
  v.maxLength(MAX_BLOCK_HASHES),
);
const tokenCount = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(MAX_SEQUENCE_TOKENS));

/** Everything about a request that does not change per step. Travels once, down the route. */
export const openRequestSchema = v.pipe(
  v.object({
    route: routeSchema,
    requester: peerIdSchema,
    promptTokens: tokenCount,
    /**
     * The hash chain over the prompt's full blocks, from its first block on: what stages look up in their prefix caches.
     * May end before the prompt does; empty looks up nothing.
     */
    blockHashes: blockHashesSchema,
    /** Time for the whole request, on each stage's own clock from `open` on. */
    timeLimitMs: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(MAX_TIME_LIMIT_MS)),
    /** The ring stops after this many sampled tokens. */
    maxTokens: tokenCount,
    /** The ring stops after sampling one of these. */
    stopTokenIds: v.pipe(v.array(tokenId), v.maxLength(MAX_STOP_TOKENS)),
    sampling: samplingSchema,
    /** What penalties count besides the tokens that this route samples. */
    history: requestHistorySchema,
    /** What the answer has to keep to; null where it may be anything. Only the last stage reads it. */
    constraint: v.nullable(constraintSchema),
    /**
     * Whether hops may go on with what they have of an earlier epoch, though the hops before them have changed since. False after
     * a failure that makes the values of that epoch doubtful.
     */
    keepsCache: v.boolean(),
    /** By which a stage knows that a later epoch is from whom the earlier was. @see EpochKeys */
    epochKey: v.pipe(v.string(), v.regex(/^[0-9a-f]{32}$/)),
  }),
  v.check(
    ({ blockHashes, promptTokens }) => blockHashes.length * BLOCK_TOKENS <= promptTokens,
    'there may be one block hash per full block of the prompt',
  ),
);
export type OpenRequest = v.InferOutput<typeof openRequestSchema>;

/** Rows of a prompt that caches may hold: whole blocks, without the last row, which is computed in any case. */
export function mostCachedTokens(promptTokens: number): number {
  return Math.floor((promptTokens - 1) / BLOCK_TOKENS) * BLOCK_TOKENS;
}

/** Those of them that stages can look up: the request names their blocks. */
export function cacheableTokens({
  blockHashes,
  promptTokens,
}: Pick<OpenRequest, 'blockHashes' | 'promptTokens'>): number {
  return Math.min(blockHashes.length * BLOCK_TOKENS, mostCachedTokens(promptTokens));
}

/**
 * Whether stages and requester agree on where each of them starts (`opened`, `begin`) before the first rows are sent. Where nothing
 * can be cached all start at 0, and the prompt follows right behind `open`.
 */
export function agreesOnStarts(request: Pick<OpenRequest, 'blockHashes' | 'promptTokens'>): boolean {
  return cacheableTokens(request) > 0;
}

/** What a stage feeds to its slice: token ids on the first stage, activations on every other. */
export type StageInput =
  | { readonly kind: 'tokens'; readonly tokenIds: Uint32Array }
  /** f32 [rows, hidden], row-major. */
  | { readonly kind: 'activations'; readonly rows: number; readonly values: Float32Array };

/** What a stage produced for one sequence in one step. */
export type StageOutput =
  /** Rows for the next stage. `position` is the position of the first row; `values` is f32 [rows, hidden]. */
  | {
      readonly kind: 'activations';
      readonly requestId: RequestId;
      readonly position: number;
      readonly rows: number;
      readonly values: Float32Array;
    }
  /** The token at `position`, and its log-probability under the unmodified distribution. */
  | {
      readonly kind: 'token';
      readonly requestId: RequestId;
      readonly position: number;
      readonly tokenId: number;
      readonly logProbability: number;
      /** As many as were asked for, but for tokens of no probability; most probable first, the lower id first among equals. */
      readonly topLogProbabilities: readonly TokenLogProbability[];
    }
  | { readonly kind: 'failed'; readonly requestId: RequestId; readonly error: SkeinError };

/** How fast a stage goes, whatever it computes. */
export interface StagePace {
  /** Forward passes since it was loaded. */
  readonly steps: number;
  /** The median of its recent passes; 0 before the first. */
  readonly typicalStepMs: number;
}

/**
 * The port between frames and an engine: the mesh feeds it, the executor implements it.
 * All outputs of one forward pass arrive in one `onStep` call. At most one further pass runs before its promise is
 * done, so a slow link slows the stage instead of filling memory; a very slow one slows only the sequences that go over it.
 */
export interface StageExecutor {
  /** Set by the one user of the executor before the first `push`. Must not reject. */
  onStep: (outputs: readonly StageOutput[]) => Promise<void>;
  readonly pace: StagePace;
  /**
   * Takes the request in. `cachedTokens` of the prompt, from its start, are in the prefix cache and stay there for this
   * request: a multiple of BLOCK_TOKENS, below `promptTokens`, because the last token is computed in any case.
   * @param cacheScope requests share cached blocks with others of the same scope only.
   * @param isPrivate whether the scope is of this request alone: nothing stays in it when the request is closed.
   * @throws SkeinError `busy` when there is no room for it.
   */
  open(request: OpenRequest, cacheScope: string, isPrivate?: boolean): { readonly cachedTokens: number };
  /**
   * Appends rows at `position`, which must be where the sequence ends. The first rows may begin at any multiple of
   * BLOCK_TOKENS up to the `cachedTokens` of `open`; what is cached beyond is given up.
   * @throws SkeinError `bad-frame` for an unknown sequence, a gap, rows past the reservation or the wrong kind of input.
   */
  push(requestId: RequestId, position: number, input: StageInput): void;
  /** Computes nothing of the sequence until it is said otherwise, and takes rows in all the same. Unknown ids are ignored. */
  pause(requestId: RequestId, isPaused: boolean): void;
  /**
   * Frees the sequence. Unknown ids are ignored: closing twice is safe.
   * @param blockHashes the chain over the full blocks of prompt and answer, whose computed ones may stay cached. Its
   * beginning is what `open` said.
   * @param keepScope under what they stay: by default, where the request was opened. Under another one they can be found
   * besides, and what was in the cache under its own before is still there.
   */
  close(requestId: RequestId, blockHashes?: readonly string[], keepScope?: string): void;
}
