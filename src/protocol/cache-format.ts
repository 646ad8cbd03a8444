/**
 * How stages keep keys and values. `int8`: per token and KV head a code for every element and one f32 scale, the largest magnitude / 127.
 * It changes what is computed, so replicas must do the same: it is part of a model's card.
 */
export const CACHE_FORMATS = ['f32', 'f16', 'int8'] as const;
export type CacheFormat = (typeof CACHE_FORMATS)[number];
