import { CACHE_RESERVE_TOKENS, MAX_STAGE_CACHE_TOKENS } from './limits.ts';
import type { ModelCard } from './signaling.ts';
import { BLOCK_TOKENS } from './stage.ts';

/** Layers `[layerStart, layerEnd)`. */
interface Layers {
  readonly layerStart: number;
  readonly layerEnd: number;
}

/** What a slice holds beside its layers, because of where it lies in the model. */
export interface SliceEnds {
  readonly embedding: boolean;
  readonly head: boolean;
}

/** Logits, and the sampler's copy of them, of the rows that a head answers in one step. */
const LOGIT_ROWS = 128;
const BYTES_PER_LOGIT = 4;

export function sliceEnds(card: ModelCard, slice: Layers): SliceEnds {
  return { embedding: slice.layerStart === 0, head: slice.layerEnd === card.layerCount };
}

/** Bytes that come with a slice's place: the embedding, or the head and its logits. */
export function endBytes(card: ModelCard, ends: SliceEnds): number {
  const logitBytes = (card.headMultiplyAdds / card.hiddenSize) * LOGIT_ROWS * BYTES_PER_LOGIT;
  return (ends.embedding ? card.embeddingBytes : 0) + (ends.head ? card.headBytes + logitBytes : 0);
}

/** Tokens of cache for which a slice leaves room on a peer; less than the reserve where the slice does not fit. */
export function cacheTokensThatFit(card: ModelCard, memoryBytes: number, slice: Layers): number {
  const layers = slice.layerEnd - slice.layerStart;
  const freeBytes = memoryBytes - layers * card.bytesPerLayer - endBytes(card, sliceEnds(card, slice));
  return Math.max(0, Math.floor(freeBytes / (layers * card.cacheBytesPerTokenPerLayer)));
}

/** Tokens of cache that a stage allocates: what its memory has room for, in whole blocks, from the reserve up to a cap. */
export function stageCacheTokens(card: ModelCard, memoryBytes: number, slice: Layers): number {
  const fitting = Math.min(cacheTokensThatFit(card, memoryBytes, slice), MAX_STAGE_CACHE_TOKENS);
  return Math.max(CACHE_RESERVE_TOKENS, Math.floor(fitting / BLOCK_TOKENS) * BLOCK_TOKENS);
}

/** Tokens of prompt and answer that one request may have: what the model attends to, and what every stage has room for. */
export function maxSequenceTokens({ contextLength }: ModelCard): number {
  return Math.min(contextLength, CACHE_RESERVE_TOKENS);
}
