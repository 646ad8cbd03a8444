import { CACHE_RESERVE_TOKENS, MAX_STAGE_CACHE_TOKENS } from '../../src/protocol/limits.ts';
import type { Capability, ModelCard } from '../../src/protocol/signaling.ts';
import { endBytes, sliceEnds } from '../../src/protocol/slice-bytes.ts';
import type { SliceEnds } from '../../src/protocol/slice-bytes.ts';
import type { LayerRange } from './types.ts';

/** Of every step, however small: dispatches, and reading back what goes to the next hop. */
const STEP_OVERHEAD_SECONDS = 0.001;

/** Prompt and answer of the request that rates are reckoned for; while it runs, its cache is this long. */
const NOMINAL_SEQUENCE_TOKENS = 1000;
/** Prompt rows that come with every token of an answer. */
const PROMPT_ROWS_PER_TOKEN = 1;
/** More rows than this in one step no longer make it cheaper per row, and make everyone wait. */
const MAX_BATCH_SEQUENCES = 64;

/** Bytes a slice needs on a peer: weights, cache reserve, and what comes with its place: the embedding, or the head and its logits. */
export function sliceBytes(card: ModelCard, slice: LayerRange): number {
  return (slice.layerEnd - slice.layerStart) * layerBytes(card) + endBytes(card, sliceEnds(card, slice));
}

/** Whole layers that fit beside the given ends. */
export function layersThatFit(card: ModelCard, memoryBytes: number, ends: SliceEnds): number {
  return Math.max(0, Math.floor((memoryBytes - endBytes(card, ends)) / layerBytes(card)));
}

/**
 * Seconds of one forward pass: the weights and the caches are read once, at the rate of vector products; every row is
 * multiplied at the rate of matrix products. Adapters overlap the two little, so they add up. The embedding is a look-up
 * and costs nothing.
 * @param decodeRows rows that read a cache of nominal length: the next tokens of as many requests.
 * @param promptRows rows of prompts beside them.
 */
export function stepSeconds(
  card: ModelCard,
  capability: Capability,
  slice: LayerRange,
  decodeRows: number,
  promptRows = 0,
): number {
  const layers = slice.layerEnd - slice.layerStart;
  return secondsOf(card, capability, layers, slice.layerEnd === card.layerCount, decodeRows, promptRows);
}

/** Seconds of the next token of one request alone. */
export function decodeSeconds(
  card: ModelCard,
  capability: Capability,
  layers: number,
  ends: SliceEnds,
): number {
  return secondsOf(card, capability, layers, ends.head, 1, 0);
}

/**
 * Answer tokens per second of a peer that always has work, with their share of prompts. Nothing where the weights do not fit. How many requests can take part depends on the memory that the weights leave for their caches. A request is at one
 * stage at a time, for about as long as that stage's share of the model, so a stage computes for that share of the
 * requests that it has cached: the batch is the free memory over the cache of a request in *all* layers. Below one, the
 * stage has nothing to do for the rest of the time.
 */
export function saturatedRate(
  card: ModelCard,
  capability: Capability,
  layers: number,
  ends: SliceEnds,
): number {
  const freeBytes = capability.memoryBytes - layers * card.bytesPerLayer - endBytes(card, ends);
  // In tokens of one layer; a stage allocates no more however much is free.
  const cacheTokenLayers = Math.min(
    freeBytes / card.cacheBytesPerTokenPerLayer,
    layers * MAX_STAGE_CACHE_TOKENS,
  );
  const cachedRequests = cacheTokenLayers / (NOMINAL_SEQUENCE_TOKENS * card.layerCount);
  const batch = Math.min(MAX_BATCH_SEQUENCES, Math.max(0, cachedRequests));
  const rows = Math.max(1, batch);
  return batch / secondsOf(card, capability, layers, ends.head, rows, rows * PROMPT_ROWS_PER_TOKEN);
}

export function fits(card: ModelCard, memoryBytes: number, slice: LayerRange): boolean {
  return slice.layerEnd - slice.layerStart <= layersThatFit(card, memoryBytes, sliceEnds(card, slice));
}

/** `saturatedRate` of a slice, and 0 where it does not fit. */
export function sliceRate(card: ModelCard, capability: Capability, slice: LayerRange): number {
  if (!fits(card, capability.memoryBytes, slice)) return 0;
  return saturatedRate(card, capability, slice.layerEnd - slice.layerStart, sliceEnds(card, slice));
}

function secondsOf(
  card: ModelCard,
  capability: Capability,
  layers: number,
  head: boolean,
  decodeRows: number,
  promptRows: number,
): number {
  const cacheBytes = decodeRows * NOMINAL_SEQUENCE_TOKENS * layers * card.cacheBytesPerTokenPerLayer;
  const rows = decodeRows + promptRows;
  return (
    STEP_OVERHEAD_SECONDS +
    (weightBytesOf(card, layers, head) + cacheBytes) / capability.matvecBytesPerSecond +
    (2 * rows * multiplyAddsOf(card, layers, head)) / capability.matmulFlopsPerSecond
  );
}

function weightBytesOf(card: ModelCard, layers: number, head: boolean): number {
  return layers * card.bytesPerLayer + (head ? card.headBytes : 0);
}

function multiplyAddsOf(card: ModelCard, layers: number, head: boolean): number {
  return layers * card.multiplyAddsPerLayer + (head ? card.headMultiplyAdds : 0);
}

function layerBytes(card: ModelCard): number {
  return card.bytesPerLayer + CACHE_RESERVE_TOKENS * card.cacheBytesPerTokenPerLayer;
}
