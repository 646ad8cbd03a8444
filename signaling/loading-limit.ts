import { sliceEnds } from '../src/protocol/slice-bytes.ts';
import type { ModelCard } from '../src/protocol/signaling.ts';
import { LOADING_BYTES_PER_SECOND, LOADING_GRACE_MS } from './limits.ts';
import type { LayerRange } from './scheduler/types.ts';

/** Milliseconds after which a peer that was told to load a slice, and has not said that it serves it, counts as hung. */
export function loadingLimitMs(card: ModelCard, slice: LayerRange): number {
  const ends = sliceEnds(card, slice);
  const weightBytes =
    (slice.layerEnd - slice.layerStart) * card.bytesPerLayer +
    (ends.embedding ? card.embeddingBytes : 0) +
    (ends.head ? card.headBytes : 0);
  return LOADING_GRACE_MS + (weightBytes / LOADING_BYTES_PER_SECOND) * 1000;
}
