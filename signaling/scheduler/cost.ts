import { CACHE_RESERVE_TOKENS } from '../../src/protocol/limits.ts';
import type { Capability, ModelCard } from '../../src/protocol/signaling.ts';
import type { LayerRange } from './types.ts';

/** Weights are mostly 16 bits wide and each takes a multiplication and an addition per token. */
const FLOPS_PER_WEIGHT_BYTE = 1;

/** What a slice holds beside its layers, because of where it lies in the model. */
export interface SliceEnds {
  readonly embedding: boolean;
  readonly head: boolean;
}

export function sliceEnds(card: ModelCard, slice: LayerRange): SliceEnds {
  return { embedding: slice.layerStart === 0, head: slice.layerEnd === card.layerCount };
}

/** Bytes a slice needs on a peer: weights, cache reserve, and the embedding or head that comes with its place. */
export function sliceBytes(card: ModelCard, slice: LayerRange): number {
  return (slice.layerEnd - slice.layerStart) * layerBytes(card) + endBytes(card, sliceEnds(card, slice));
}

/** Whole layers that fit beside the given ends. */
export function layersThatFit(card: ModelCard, memoryBytes: number, ends: SliceEnds): number {
  return Math.max(0, Math.floor((memoryBytes - endBytes(card, ends)) / layerBytes(card)));
}

/**
 * Seconds a peer takes to bring one token through this many layers, with one prompt token for each answer token: the
 * prompt runs at the matrix rate, the answer at the vector rate. The embedding is a look-up and costs nothing.
 */
export function secondsPerToken(
  card: ModelCard,
  capability: Capability,
  layers: number,
  ends: SliceEnds,
): number {
  const weightBytes = layers * card.bytesPerLayer + (ends.head ? card.headBytes : 0);
  return weightBytes * secondsPerWeightByte(capability);
}

export function sliceSeconds(card: ModelCard, capability: Capability, slice: LayerRange): number {
  return secondsPerToken(card, capability, slice.layerEnd - slice.layerStart, sliceEnds(card, slice));
}

/** The inverse of a peer's speed, for comparing peers. */
export function secondsPerWeightByte(capability: Capability): number {
  return 1 / capability.matvecBytesPerSecond + FLOPS_PER_WEIGHT_BYTE / capability.matmulFlopsPerSecond;
}

function layerBytes(card: ModelCard): number {
  return card.bytesPerLayer + CACHE_RESERVE_TOKENS * card.cacheBytesPerTokenPerLayer;
}

function endBytes(card: ModelCard, ends: SliceEnds): number {
  return (ends.embedding ? card.embeddingBytes : 0) + (ends.head ? card.headBytes : 0);
}
