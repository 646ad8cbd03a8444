import { decodeSeconds, sliceRate } from '../../../../signaling/scheduler/cost.ts';
import { sliceEnds } from '../../../../src/protocol/slice-bytes.ts';
import { hopSeconds, placementScore } from '../../../../signaling/scheduler/predict.ts';
import type { LayerRange, Network, SchedulerNode } from '../../../../signaling/scheduler/types.ts';
import type { ModelCard } from '../../../../src/protocol/signaling.ts';

/** A slice and who holds it. */
export interface HeldSlice extends LayerRange {
  readonly node: SchedulerNode;
}

/** A slice that a node could hold, with what it would make of it. */
interface Option extends HeldSlice {
  readonly rate: number;
  readonly seconds: number;
}

/**
 * The best score of any placement: every node with every range of layers it can hold, or none. The throughput is the
 * least of all cuts through the layers, the latency the cheapest of all chains, each found by trying all.
 * @param floor a score that is known to be possible; what cannot be better is not looked at.
 */
export function bestScore(
  card: ModelCard,
  nodes: readonly SchedulerNode[],
  network: Network,
  floor: number,
): number {
  const { layerCount } = card;
  const layerRates = ({ layerStart, layerEnd, rate }: Option) => rate * (layerEnd - layerStart);
  const mostOf = (own: readonly Option[]) => Math.max(0, ...own.map(layerRates));
  // Who adds most comes first, so that what cannot be better is seen early.
  const options = nodes.map((node) => optionsOf(card, node)).sort((a, b) => mostOf(b) - mostOf(a));
  const leastSeconds = Math.min(
    ...everyChain(layerCount, options.flat()).map((chain) => sum(chain.map(({ seconds }) => seconds))),
  );
  /** By node: the most that it and those after it add to the rates of all layers together. */
  const mostToCome = options.map((_, index) => sum(options.slice(index).map(mostOf)));
  let best = floor;
  const held: Option[] = [];
  const coverOf = new Float64Array(layerCount);

  const visit = (index: number, covered: number): void => {
    // The slowest layer is at most as fast as the mean of all.
    const mostCover = (covered + (mostToCome[index] ?? 0)) / layerCount;
    const atBest = { tokensPerSecond: mostCover, secondsPerToken: leastSeconds };
    if (placementScore(atBest) * (1 + 1e-9) <= best) return;
    const choices = options[index];
    if (choices === undefined) {
      const leastCover = Math.min(...coverOf);
      const couldBe = { tokensPerSecond: leastCover, secondsPerToken: leastSeconds };
      if (leastCover === 0 || placementScore(couldBe) <= best) return;
      const tokensPerSecond = leastCut(layerCount, held);
      if (tokensPerSecond === 0) return;
      const secondsPerToken = cheapestChain(layerCount, held, network);
      best = Math.max(best, placementScore({ tokensPerSecond, secondsPerToken }));
      return;
    }
    for (const option of choices) {
      held.push(option);
      for (let layer = option.layerStart; layer < option.layerEnd; layer += 1)
        coverOf[layer] = (coverOf[layer] ?? 0) + option.rate;
      visit(index + 1, covered + layerRates(option));
      for (let layer = option.layerStart; layer < option.layerEnd; layer += 1)
        coverOf[layer] = (coverOf[layer] ?? 0) - option.rate;
      held.pop();
    }
    visit(index + 1, covered);
  };
  visit(0, 0);
  return best;
}

/** Of slices that fit; 0 where they do not hold the model. */
export function scoreOfHeld(card: ModelCard, slices: readonly HeldSlice[], network: Network): number {
  const tokensPerSecond = leastCutOf(card, slices);
  if (tokensPerSecond === 0) return 0;
  const secondsPerToken = cheapestChain(card.layerCount, optionsFor(card, slices), network);
  return placementScore({ tokensPerSecond, secondsPerToken });
}

/** Tokens per second of slices that fit: the least of all cuts through the layers. */
export function leastCutOf(card: ModelCard, slices: readonly HeldSlice[]): number {
  return leastCut(card.layerCount, optionsFor(card, slices));
}

function optionsFor(card: ModelCard, slices: readonly HeldSlice[]): Option[] {
  return slices.map(({ node, layerStart, layerEnd }) => optionOf(card, node, { layerStart, layerEnd }));
}

function optionOf(card: ModelCard, node: SchedulerNode, range: LayerRange): Option {
  const rate = sliceRate(card, node.capability, range);
  const layers = range.layerEnd - range.layerStart;
  const seconds = decodeSeconds(card, node.capability, layers, sliceEnds(card, range));
  return { node, ...range, rate, seconds };
}

function optionsOf(card: ModelCard, node: SchedulerNode): Option[] {
  const options: Option[] = [];
  for (let layerStart = 0; layerStart < card.layerCount; layerStart += 1) {
    for (let layerEnd = layerStart + 1; layerEnd <= card.layerCount; layerEnd += 1) {
      const option = optionOf(card, node, { layerStart, layerEnd });
      if (option.rate > 0) options.push(option);
    }
  }
  return options;
}

/** Every set of boundaries that the flow could be cut at: the boundaries on the near side of the cut, as bits. */
function leastCut(layerCount: number, held: readonly Option[]): number {
  let least = Infinity;
  for (let inner = 0; inner < 1 << (layerCount - 1); inner += 1) {
    const near = (inner << 1) | 1;
    let capacity = 0;
    for (const { layerStart, layerEnd, rate } of held) {
      if ((near & (1 << layerStart)) !== 0 && (near & (1 << layerEnd)) === 0) capacity += rate;
    }
    least = Math.min(least, capacity);
  }
  return least;
}

function cheapestChain(layerCount: number, held: readonly Option[], network: Network): number {
  return Math.min(
    ...everyChain(layerCount, held).map((chain) => {
      const hops = chain.map((option, index) => {
        const next = chain[(index + 1) % chain.length] ?? option;
        return next === option ? 0 : hopSeconds(network, option.node.region, next.node.region);
      });
      return sum(hops) + sum(chain.map(({ seconds }) => seconds));
    }),
  );
}

function everyChain(layerCount: number, options: readonly Option[], layer = 0): Option[][] {
  if (layer === layerCount) return [[]];
  return options
    .filter(({ layerStart }) => layerStart === layer)
    .flatMap((option) => everyChain(layerCount, options, option.layerEnd).map((rest) => [option, ...rest]));
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
