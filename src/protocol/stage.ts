import * as v from 'valibot';
import { MAX_SEQUENCE_TOKENS, MAX_STOP_TOKENS } from './limits.ts';
import { peerIdSchema, routeSchema } from './route.ts';
import type { SkeinError } from './errors.ts';
import type { RequestId } from './ids.ts';

/** How the last stage picks a token. `temperature` 0 is greedy; `topK` 0 and `topP` 1 keep every token. */
export const samplingSchema = v.object({
  temperature: v.pipe(v.number(), v.finite(), v.minValue(0), v.maxValue(100)),
  topK: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xffff_ffff)),
  topP: v.pipe(v.number(), v.gtValue(0), v.maxValue(1)),
  /** Same seed, same prompt, same answer. u32. */
  seed: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xffff_ffff)),
});
export type SamplingParams = v.InferOutput<typeof samplingSchema>;

export const GREEDY: SamplingParams = { temperature: 0, topK: 0, topP: 1, seed: 0 };

const tokenId = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xffff_ffff));
const tokenCount = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(MAX_SEQUENCE_TOKENS));

/** Everything about a request that does not change per step. Travels once, down the route. */
export const openRequestSchema = v.object({
  route: routeSchema,
  requester: peerIdSchema,
  promptTokens: tokenCount,
  /** The ring stops after this many sampled tokens. */
  maxTokens: tokenCount,
  /** The ring stops after sampling one of these. */
  stopTokenIds: v.pipe(v.array(tokenId), v.maxLength(MAX_STOP_TOKENS)),
  sampling: samplingSchema,
});
export type OpenRequest = v.InferOutput<typeof openRequestSchema>;

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
    }
  | { readonly kind: 'failed'; readonly requestId: RequestId; readonly error: SkeinError };

/**
 * The port between frames and an engine: the mesh feeds it, the executor implements it.
 * All outputs of one forward pass arrive in one `onStep` call. At most one further pass runs before its promise is
 * done, so a slow link slows the stage instead of filling memory.
 */
export interface StageExecutor {
  /** Set by the one user of the executor before the first `push`. Must not reject. */
  onStep: (outputs: readonly StageOutput[]) => Promise<void>;
  /** Reserves the cache for the whole sequence. @throws SkeinError `busy` when the cache has no room for it. */
  open(request: OpenRequest): void;
  /**
   * Appends rows at `position`, which must be where the sequence ends.
   * @throws SkeinError `bad-frame` for an unknown sequence, a gap, rows past the reservation or the wrong kind of input.
   */
  push(requestId: RequestId, position: number, input: StageInput): void;
  /** Frees the sequence. Unknown ids are ignored: closing twice is safe. */
  close(requestId: RequestId): void;
}
