import type { CacheFormat } from '../../protocol/cache-format.ts';
import { BLOCK_TOKENS } from '../batch.ts';
import type { StepShape } from '../step.ts';
import { checkBytes, checkSize } from './checks.ts';

export type { CacheFormat };

/** What the attention kernels of a layer have in common. Sizes in elements. */
export interface AttentionShape {
  readonly headCount: number;
  /** Divides `headCount`: consecutive query heads share a key-value head (grouped-query attention). */
  readonly kvHeadCount: number;
  /** A multiple of 8, at most `MAX_HEAD_DIM`. */
  readonly headDim: number;
  readonly cacheFormat: CacheFormat;
  /** What scores are multiplied by before the softmax; 1 / √headDim where a model says nothing else. */
  readonly scale?: number;
  /** A row sees this many of the latest keys, its own among them (Mistral); absent: all. */
  readonly window?: number;
  /** A score s becomes softCap · tanh(s / softCap) (Gemma 2); absent: it stays. */
  readonly softCap?: number;
}

/** The prefill kernel gives every element of a head an invocation, and 256 per workgroup is what every adapter has. */
export const MAX_HEAD_DIM = 256;
/** Two packed words of halves, or two vec4 of f32. */
const HEAD_DIM_MULTIPLE = 8;
const MAX_HEADS = 1024;

const CACHE_FORMAT_CODE: Readonly<Record<CacheFormat, number>> = { f32: 0, f16: 1, int8: 2 };
const WORD_BYTES = 4;

/** @throws SkeinError `bad-argument` naming the size that no attention kernel takes. */
export function checkAttentionShape(kernel: string, shape: AttentionShape): void {
  checkSize(kernel, 'headDim', shape.headDim, { max: MAX_HEAD_DIM, multipleOf: HEAD_DIM_MULTIPLE });
  checkSize(kernel, 'kvHeadCount', shape.kvHeadCount, { max: MAX_HEADS });
  checkSize(kernel, 'headCount', shape.headCount, { max: MAX_HEADS, multipleOf: shape.kvHeadCount });
  if (shape.window !== undefined) checkSize(kernel, 'window', shape.window);
  if (shape.softCap !== undefined) checkSize(kernel, 'softCap', Math.ceil(shape.softCap));
}

/** The overrides every kernel that reads or writes the cache declares. */
export function cacheOverrides(shape: AttentionShape): {
  readonly heads: number;
  readonly kv_heads: number;
  readonly head_dim: number;
  readonly cache_format: number;
  readonly head_words: number;
} {
  return {
    heads: shape.headCount,
    kv_heads: shape.kvHeadCount,
    head_dim: shape.headDim,
    cache_format: CACHE_FORMAT_CODE[shape.cacheFormat],
    head_words: cacheHeadWords(shape),
  };
}

/** The overrides every kernel that computes scores declares. */
export function scoreOverrides(shape: AttentionShape): {
  readonly scale: number;
  readonly soft_cap: number;
  readonly window: number;
} {
  return { scale: attentionScale(shape), soft_cap: shape.softCap ?? 0, window: shape.window ?? 0 };
}

export function attentionScale(shape: AttentionShape): number {
  return shape.scale ?? 1 / Math.sqrt(shape.headDim);
}

/** Bytes of one row of `qkv`: f32 [headCount + 2 · kvHeadCount, headDim]. */
export function qkvRowBytes(shape: AttentionShape): number {
  return (shape.headCount + 2 * shape.kvHeadCount) * shape.headDim * Float32Array.BYTES_PER_ELEMENT;
}

/** Bytes of one row of `attended`: f32 [headCount, headDim]. */
export function attendedRowBytes(shape: AttentionShape): number {
  return shape.headCount * shape.headDim * Float32Array.BYTES_PER_ELEMENT;
}

/** What the size of a cache depends on. */
export type CacheShape = Pick<AttentionShape, 'kvHeadCount' | 'headDim' | 'cacheFormat'>;

/** 4-byte words of one KV head of one token. Even, since GPUs read pairs: int8 has a word of padding behind its scale. */
function cacheHeadWords({ cacheFormat, headDim }: CacheShape): number {
  const words: Record<CacheFormat, number> = { f32: headDim, f16: headDim / 2, int8: headDim / 4 + 2 };
  return words[cacheFormat];
}

/** Bytes of the keys, and as many of the values, that one layer keeps in one cache block. */
export function cacheBlockBytes(shape: CacheShape): number {
  return BLOCK_TOKENS * shape.kvHeadCount * cacheHeadWords(shape) * WORD_BYTES;
}

export interface AttentionDecodeBuffers {
  readonly step: GPUBuffer;
  /** f32 [rows, headCount + 2 · kvHeadCount, headDim], after `rope_append`. */
  readonly qkv: GPUBuffer;
  /** The layer's cache; size from `cacheBlockBytes`. */
  readonly keys: GPUBuffer;
  readonly values: GPUBuffer;
  readonly blockTables: GPUBuffer;
  readonly decodeInfo: GPUBuffer;
  /** Handed to `attention_reduce`; sizes from `partialsBytes`. */
  readonly partials: GPUBuffer;
  readonly partialStats: GPUBuffer;
  /** See `AttentionPrefillBuffers`; they join where sums are divided. */
  readonly sinks: GPUBuffer | null;
  /** f32 [rows, headCount, headDim]; the decode rows are written, by this kernel or by `attention_reduce`. */
  readonly attended: GPUBuffer;
}

export interface AttentionPrefillBuffers {
  readonly step: GPUBuffer;
  /** f32 [rows, headCount + 2 · kvHeadCount, headDim], after `rope_append`. */
  readonly qkv: GPUBuffer;
  /** The layer's cache; size from `cacheBlockBytes`. */
  readonly keys: GPUBuffer;
  readonly values: GPUBuffer;
  readonly blockTables: GPUBuffer;
  readonly prefillInfo: GPUBuffer;
  /** f32 [headCount], a logit per head that takes part in the softmax and has no value (gpt-oss); null where the model has none. */
  readonly sinks: GPUBuffer | null;
  /** Only bound, and left as it is. */
  readonly partialStats: GPUBuffer;
  /** f32 [rows, headCount, headDim]; the rows of the tiles are written. */
  readonly attended: GPUBuffer;
}

/** @throws SkeinError `bad-argument` for a step with more rows than the buffers hold. */
export function checkPrefillStep(
  kernel: string,
  shape: AttentionShape,
  { qkv, attended }: Pick<AttentionPrefillBuffers, 'qkv' | 'attended'>,
  step: StepShape,
): void {
  checkBytes(kernel, 'qkv', qkv, step.rows * qkvRowBytes(shape));
  checkBytes(kernel, 'attended', attended, step.rows * attendedRowBytes(shape));
}
