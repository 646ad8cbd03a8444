import type { ModelCard } from '../../src/protocol/signaling.ts';
import { sliceEnds } from '../../src/protocol/slice-bytes.ts';
import { decodeSeconds } from './cost.ts';
import { maxFlow } from './max-flow.ts';
import { stageRate, stagesOf } from './slices.ts';
import type { NodeSlice, Stage } from './slices.ts';
import type { Network, Prediction } from './types.ts';

/** What a token that changes peers costs beside the way: taking it out of the GPU, framing it, waking the other tab. */
const HOP_SECONDS = 0.002;

/**
 * How much throughput counts against latency, as the exponent of Parallax's number of pipelines: twice the tokens per
 * second are worth a token that takes four times as long.
 */
const THROUGHPUT_EXPONENT = 2;

/** What placements of one model are compared by: the more tokens per second the better, the longer one takes the worse. */
export function placementScore({ tokensPerSecond, secondsPerToken }: Prediction): number {
  return tokensPerSecond ** THROUGHPUT_EXPONENT / secondsPerToken;
}

export function predict(card: ModelCard, slices: readonly NodeSlice[], network: Network): Prediction {
  const stages = stagesOf(slices);
  const tokensPerSecond = flowOf(card, stages);
  if (tokensPerSecond === 0) return { tokensPerSecond: 0, secondsPerToken: Infinity };
  return { tokensPerSecond, secondsPerToken: cheapestChainSeconds(card, stages, network) };
}

/** The greatest flow through the stages: layers are vertices, stages edges from their first layer to the one after their last. */
export function flowOf(card: ModelCard, stages: readonly Stage[]): number {
  const edges = stages.map((stage) => ({
    from: stage.layerStart,
    to: stage.layerEnd,
    capacity: stageRate(card, stage),
  }));
  return maxFlow(card.layerCount + 1, 0, card.layerCount, edges);
}

/** A region's fastest holder of a stage. */
interface Candidate {
  readonly region: number;
  readonly seconds: number;
}

/** One token of one request alone: the stages of the cheapest chain, and the way around its ring. Infinity without a chain. */
function cheapestChainSeconds(card: ModelCard, stages: readonly Stage[], network: Network): number {
  const ordered = stages
    .map((stage) => ({ stage, candidates: fastestPerRegion(card, stage) }))
    .sort((a, b) => a.stage.layerStart - b.stage.layerStart);
  const firstRegions = new Set(
    ordered
      .filter(({ stage }) => stage.layerStart === 0)
      .flatMap(({ candidates }) => candidates.map(({ region }) => region)),
  );
  let best = Infinity;
  for (const first of firstRegions) {
    /** By layer: the cheapest way there, by the region of the last hop. */
    const reached = new Map<number, Map<number, number>>([[0, new Map([[first, 0]])]]);
    for (const { stage, candidates } of ordered) {
      const before = reached.get(stage.layerStart);
      if (before === undefined) continue;
      let after = reached.get(stage.layerEnd);
      if (after === undefined) reached.set(stage.layerEnd, (after = new Map<number, number>()));
      for (const { region, seconds } of candidates) {
        if (stage.layerStart === 0 && region !== first) continue;
        for (const [from, secondsBefore] of before) {
          const hop = stage.layerStart === 0 ? 0 : hopSeconds(network, from, region);
          const arrival = secondsBefore + hop + seconds;
          if (arrival < (after.get(region) ?? Infinity)) after.set(region, arrival);
        }
      }
      if (stage.layerStart === 0 && stage.layerEnd === card.layerCount) {
        for (const { region, seconds } of candidates) if (region === first) best = Math.min(best, seconds);
      }
    }
    for (const [last, seconds] of reached.get(card.layerCount) ?? []) {
      best = Math.min(best, seconds + hopSeconds(network, last, first));
    }
  }
  return best;
}

/** From one peer to another: half of a round trip. */
export function hopSeconds({ regionRttSeconds }: Network, from: number, to: number): number {
  return HOP_SECONDS + (regionRttSeconds[from]?.[to] ?? 0) / 2;
}

function fastestPerRegion(card: ModelCard, stage: Stage): Candidate[] {
  const ends = sliceEnds(card, stage);
  const layers = stage.layerEnd - stage.layerStart;
  const fastest = new Map<number, number>();
  for (const { region, capability } of stage.holders) {
    const seconds = decodeSeconds(card, capability, layers, ends);
    if (seconds < (fastest.get(region) ?? Infinity)) fastest.set(region, seconds);
  }
  return [...fastest].map(([region, seconds]) => ({ region, seconds }));
}
