import type { ModelCard } from '../../src/protocol/signaling.ts';

/** What a device can really do; what it claims is another matter. */
export interface DeviceRates {
  /** Of memory that kernels reach. */
  readonly bytesPerSecond: number;
  readonly flopsPerSecond: number;
  /** Of each step, whatever is in it: submitting it, reading its result back, building the frame. */
  readonly stepOverheadSeconds: number;
}

/** What one step computes. */
export interface StepWork {
  /** Layers whose weights are read. */
  readonly layers: number;
  /** Rows, each as often as it passes a layer. */
  readonly rowLayers: number;
  /** Rows that go through the head: one for every sequence that gets a token. */
  readonly headRows: number;
  /** Tokens of cache that are read, each as often as there are layers. */
  readonly cacheTokenLayers: number;
  /** Pairs of a row and a token it attends to, each as often as there are layers. */
  readonly attendedPairLayers: number;
}

/** Each pair costs a multiplication and an addition for its score, and as much for its value, per element of a row. */
const FLOPS_PER_PAIR_ELEMENT = 4;

/**
 * Time of a step by the roofline model: it takes what the memory or the arithmetic takes, whichever is longer, and its
 * overhead. Weights are read once for all rows of a step, which is what makes batches cheap.
 */
export function stepSeconds(card: ModelCard, rates: DeviceRates, work: StepWork): number {
  const weightBytes = work.layers * card.bytesPerLayer + (work.headRows > 0 ? card.headBytes : 0);
  const cacheBytes = work.cacheTokenLayers * card.cacheBytesPerTokenPerLayer;
  const multiplyAdds = work.rowLayers * card.multiplyAddsPerLayer + work.headRows * card.headMultiplyAdds;
  const flops = 2 * multiplyAdds + FLOPS_PER_PAIR_ELEMENT * card.hiddenSize * work.attendedPairLayers;
  const memorySeconds = (weightBytes + cacheBytes) / rates.bytesPerSecond;
  return rates.stepOverheadSeconds + Math.max(memorySeconds, flops / rates.flopsPerSecond);
}
