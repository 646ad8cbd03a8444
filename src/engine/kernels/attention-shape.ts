import { BLOCK_TOKENS } from '../batch.ts';
import { FORMAT_CODE } from '../weight-format.ts';
import type { Precision } from '../weight-format.ts';
import { checkSize } from './checks.ts';

/** What the attention kernels of a slice have in common. Sizes in elements. */
export interface AttentionShape {
  readonly headCount: number;
  /** Divides `headCount`: consecutive query heads share a key-value head (grouped-query attention). */
  readonly kvHeadCount: number;
  /** A multiple of 8, at most `MAX_HEAD_DIM`. */
  readonly headDim: number;
  /** How the cache stores keys and values. */
  readonly cacheFormat: Precision;
  /** What scores are multiplied by before the softmax; 1 / √headDim where a model says nothing else. */
  readonly scale?: number;
}

/** The prefill kernel gives every element of a head an invocation, and 256 per workgroup is what every adapter has. */
export const MAX_HEAD_DIM = 256;
/** Two packed words of halves, or two vec4 of f32. */
const HEAD_DIM_MULTIPLE = 8;
const MAX_HEADS = 1024;

const CACHE_BYTES_PER_ELEMENT: Readonly<Record<Precision, number>> = { f32: 4, f16: 2 };

/** @throws SkeinError `bad-argument` naming the size that no attention kernel takes. */
export function checkAttentionShape(kernel: string, shape: AttentionShape): void {
  checkSize(kernel, 'headDim', shape.headDim, { max: MAX_HEAD_DIM, multipleOf: HEAD_DIM_MULTIPLE });
  checkSize(kernel, 'kvHeadCount', shape.kvHeadCount, { max: MAX_HEADS });
  checkSize(kernel, 'headCount', shape.headCount, { max: MAX_HEADS, multipleOf: shape.kvHeadCount });
}

/** The overrides every attention kernel declares. */
export function attentionOverrides(shape: AttentionShape): {
  readonly heads: number;
  readonly kv_heads: number;
  readonly head_dim: number;
  readonly cache_format: number;
} {
  return {
    heads: shape.headCount,
    kv_heads: shape.kvHeadCount,
    head_dim: shape.headDim,
    cache_format: FORMAT_CODE[shape.cacheFormat],
  };
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

/** Bytes of the keys, and as many of the values, that one layer keeps in one cache block. */
export function cacheBlockBytes(shape: AttentionShape): number {
  return BLOCK_TOKENS * shape.kvHeadCount * shape.headDim * CACHE_BYTES_PER_ELEMENT[shape.cacheFormat];
}
