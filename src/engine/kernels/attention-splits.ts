import type { StepShape } from '../step.ts';
import type { Tuning } from '../tuning.ts';
import { attendedRowBytes, qkvRowBytes } from './attention-shape.ts';
import type { AttentionDecodeBuffers, AttentionShape } from './attention-shape.ts';
import { checkBytes, checkSize } from './checks.ts';

/** Tokens per tile of the decode kernel, two per invocation. A split of less would leave some of them idle. */
const DECODE_TILE_TOKENS = 64;
/** Splits of the longest sequence. With the KV heads of a layer enough workgroups for a large GPU, and few enough to merge in one go. */
const MAX_DECODE_SPLITS = 32;
/**
 * Parts that `attention_serial` cuts the keys of a single row into: enough for two cores to share a row, few enough that the parts
 * of one workgroup do not compete for the same lines of a cache.
 */
export const SERIAL_PARTS = 4;
/** Largest score and sum of weights, f32. */
const STATS_BYTES = 8;

/** What `attention_reduce` shares with the decode kernel in front of it. */
export type AttentionReduceBuffers = Pick<
  AttentionDecodeBuffers,
  'decodeInfo' | 'partials' | 'partialStats' | 'sinks' | 'attended'
>;

/** An attention shape and how the decode kernel cuts the keys of a row into splits. */
export interface DecodeShape extends AttentionShape {
  /** Positions a sequence may have. */
  readonly contextLength: number;
  /**
   * Tokens per split, a multiple of `DECODE_TILE_TOKENS`; normally `decodeSplitTokens(contextLength)`. Stages and replicas that
   * must agree to the bit need the same.
   */
  readonly splitTokens: number;
}

/** A function of the model alone, never of the batch: the same row then has the same bits in any company and on any replica. */
export function decodeSplitTokens(contextLength: number): number {
  return DECODE_TILE_TOKENS * Math.ceil(contextLength / (DECODE_TILE_TOKENS * MAX_DECODE_SPLITS));
}

/** Splits of a row that attends to `keyCount` keys. */
export function decodeSplits(shape: DecodeShape, keyCount: number): number {
  return Math.ceil(keyCount / shape.splitTokens);
}

/**
 * Whether `attention_decode` writes rows of one split itself. Sinks it has no binding left for, and the kernel of software adapters
 * cuts rows in another way.
 */
export function endsRows({ isSoftware }: Tuning, sinks: GPUBuffer | null): boolean {
  return !isSoftware && sinks === null;
}

/** Bytes of the two buffers in front of attention_reduce, whichever kernel fills them; layers take turns with them. */
export function partialsBytes(
  shape: DecodeShape,
  maxDecodeRows: number,
): { partials: number; stats: number } {
  const partialRows = maxDecodeRows * Math.max(SERIAL_PARTS, decodeSplits(shape, shape.contextLength));
  return {
    partials: partialRows * attendedRowBytes(shape),
    stats: partialRows * shape.headCount * STATS_BYTES,
  };
}

/** @throws SkeinError `bad-argument` for a split that does not fit the tile or a context without positions. */
export function checkDecodeShape(kernel: string, shape: DecodeShape): void {
  checkSize(kernel, 'contextLength', shape.contextLength);
  checkSize(kernel, 'splitTokens', shape.splitTokens, {
    min: DECODE_TILE_TOKENS,
    multipleOf: DECODE_TILE_TOKENS,
  });
}

/** @throws SkeinError `bad-argument` for decode rows with more keys than the shape has positions, or too many for the buffers. */
export function checkDecodeStep(
  kernel: string,
  shape: DecodeShape,
  buffers: AttentionDecodeBuffers,
  step: StepShape,
): void {
  checkSize(kernel, 'maxDecodeKeys', step.maxDecodeKeys, { max: shape.contextLength });
  checkBytes(kernel, 'qkv', buffers.qkv, step.rows * qkvRowBytes(shape));
  checkReduceStep(kernel, shape, buffers, step);
}

/** @throws SkeinError `bad-argument` for more rows than the buffers hold. */
export function checkReduceStep(
  kernel: string,
  shape: DecodeShape,
  { partials, partialStats, attended }: AttentionReduceBuffers,
  step: StepShape,
): void {
  const needed = partialsBytes(shape, step.decodeRows);
  checkBytes(kernel, 'partials', partials, needed.partials);
  checkBytes(kernel, 'partial_stats', partialStats, needed.stats);
  checkBytes(kernel, 'attended', attended, step.rows * attendedRowBytes(shape));
}
