import { MAX_ROUTE_HOPS } from '../../src/protocol/limits.ts';
import type { ModelCard } from '../../src/protocol/signaling.ts';
import type { SliceEnds } from '../../src/protocol/slice-bytes.ts';
import { layersThatFit, saturatedRate } from './cost.ts';
import { coverRange } from './cover.ts';
import { endsAt } from './cuts.ts';
import { fewestThatHold } from './feasible.ts';
import { formPipeline, pipelineOf } from './pipeline.ts';
import type { Pipeline } from './pipeline.ts';
import { placementScore } from './predict.ts';
import type { Network, SchedulerNode } from './types.ts';

/** Numbers of stages that are tried for a few nodes. */
export const STAGE_COUNTS: readonly number[] = [
  1,
  2,
  3,
  4,
  5,
  6,
  7,
  8,
  10,
  12,
  14,
  16,
  20,
  24,
  32,
  40,
  48,
  64,
  80,
  96,
  MAX_ROUTE_HOPS,
];
/**
 * And for many, from which one family is taken for the whole mesh. Each number divides the next, so that even cuts into
 * more stages are cuts of the stages of fewer: whatever a peer of one pipeline holds, it can take part in the others.
 */
export const STAGE_FAMILIES: readonly (readonly number[])[] = [
  [1, 2, 4, 8, 16, 32, 64, MAX_ROUTE_HOPS],
  [1, 3, 6, 12, 24, 48, 96],
  [1, 5, 10, 20, 40, 80],
];
/** What nodes that are left over will make of their speed; they are small, so their requests are few. */
const LEFT_OVER_EFFICIENCY = 0.5;
const NO_ENDS: SliceEnds = { embedding: false, head: false };

/** How pipelines are built. */
export interface BuildPlan {
  /** Numbers of stages that are tried. */
  readonly stageCounts: readonly number[];
  /** `even`: all stages have the same number of layers; `by-speed`: the slowest get fewer, once the nodes are shared out. */
  readonly cuts: 'even' | 'by-speed';
  readonly maxPipelines: number;
}

/**
 * Pipelines of many nodes: even cuts, and the nodes shared out over the stages, the fastest first, each to the stage
 * that is slowest so far. Whoever is too small for the stages makes a pipeline with more of them.
 */
export function buildPipelines(
  card: ModelCard,
  nodes: readonly SchedulerNode[],
  network: Network,
  plan: BuildPlan,
): readonly Pipeline[] {
  const rates = new Map(nodes.map((node) => [node, rateOfOneLayer(card, node)]));
  const rateOf = (node: SchedulerNode) => rates.get(node) ?? 0;
  let left: readonly SchedulerNode[] = nodes.toSorted((a, b) => rateOf(b) - rateOf(a));
  const pipelines: Pipeline[] = [];
  for (let round = 0; round < plan.maxPipelines && left.length > 0; round += 1) {
    const pipeline = bestPipeline(card, left, network, plan, rateOf);
    if (pipeline === null) break;
    pipelines.push(pipeline);
    left = without(left, pipeline);
  }
  return pipelines;
}

/** Who has no room for a layer and its cache adds nothing, however fast it is. */
function rateOfOneLayer(card: ModelCard, { capability }: SchedulerNode): number {
  if (layersThatFit(card, capability.memoryBytes, NO_ENDS) < 1) return 0;
  return saturatedRate(card, capability, 1, NO_ENDS);
}

export function without(nodes: readonly SchedulerNode[], pipeline: Pipeline): SchedulerNode[] {
  const used = new Set(pipeline.groups.flat());
  return nodes.filter((node) => !used.has(node));
}

/** @param nodes the fastest first. */
function bestPipeline(
  card: ModelCard,
  nodes: readonly SchedulerNode[],
  network: Network,
  { stageCounts, cuts }: BuildPlan,
  rateOf: (node: SchedulerNode) => number,
): Pipeline | null {
  const candidates = stageCounts
    .filter((count) => count <= Math.min(nodes.length, card.layerCount))
    .map((count) => evenPipeline(card, nodes, network, count))
    .map((even) => (even === null || cuts === 'even' ? even : formPipeline(card, even.groups, network)));
  if (cuts === 'by-speed' || candidates.every((pipeline) => pipeline === null)) {
    const [only, ...others] = stageCounts;
    const count = only !== undefined && others.length === 0 ? only : 'fewest';
    const chain = coverRange(card, wholeOf(card), nodes, count);
    if (chain !== null) {
      const groups = chain.map(({ node }) => [node]);
      candidates.push(formPipeline(card, groups, network));
    }
  }

  let best: { readonly pipeline: Pipeline; readonly score: number } | null = null;
  for (const pipeline of candidates) {
    if (pipeline === null) continue;
    const score = scoreWithRest(card, pipeline, without(nodes, pipeline), rateOf);
    if (best === null || score > best.score) best = { pipeline, score };
  }
  return best?.pipeline ?? null;
}

/** A pipeline's worth, with a guess at what the nodes it leaves over add to it. */
function scoreWithRest(
  card: ModelCard,
  { tokensPerSecond, secondsPerToken }: Pipeline,
  rest: readonly SchedulerNode[],
  rateOf: (node: SchedulerNode) => number,
): number {
  const canHold = rest.length > 0 && fewestThatHold(card, wholeOf(card), rest) !== null;
  const speed = canHold ? rest.reduce((sum, node) => sum + rateOf(node), 0) / card.layerCount : 0;
  const added = speed * LEFT_OVER_EFFICIENCY;
  return placementScore({ tokensPerSecond: tokensPerSecond + added, secondsPerToken });
}

function wholeOf({ layerCount }: ModelCard) {
  return { layerStart: 0, layerEnd: layerCount };
}

/** Even cuts, and everybody at the slowest stage that fits. @returns null when a stage finds nobody. */
function evenPipeline(
  card: ModelCard,
  nodes: readonly SchedulerNode[],
  network: Network,
  count: number,
): Pipeline | null {
  const boundary = (index: number) => Math.floor((index * card.layerCount) / count);
  const stages = Array.from({ length: count }, (_, index) => ({
    layers: boundary(index + 1) - boundary(index),
    ends: endsAt(card, wholeOf(card), index, count),
    rate: 0,
    holders: [] as SchedulerNode[],
  }));
  for (const node of nodes) {
    const { capability } = node;
    let slowest: (typeof stages)[number] | null = null;
    for (const stage of stages) {
      if (slowest !== null && stage.rate >= slowest.rate) continue;
      if (layersThatFit(card, capability.memoryBytes, stage.ends) >= stage.layers) slowest = stage;
    }
    if (slowest === null) continue;
    slowest.rate += saturatedRate(card, capability, slowest.layers, slowest.ends);
    slowest.holders.push(node);
  }
  if (stages.some(({ holders }) => holders.length === 0)) return null;
  const rate = stages.reduce((least, stage) => Math.min(least, stage.rate), Infinity);
  const groups = stages.map(({ holders }) => holders);
  return pipelineOf(card, groups, { layers: stages.map(({ layers }) => layers), rate }, network);
}
