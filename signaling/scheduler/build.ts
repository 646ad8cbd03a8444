import { MAX_ROUTE_HOPS } from '../../src/protocol/limits.ts';
import type { ModelCard } from '../../src/protocol/signaling.ts';
import { layersThatFit, saturatedRate } from './cost.ts';
import type { SliceEnds } from './cost.ts';
import { coverRange } from './cover.ts';
import { endsAt } from './cuts.ts';
import type { Group } from './cuts.ts';
import { fewestThatHold } from './feasible.ts';
import { formPipeline } from './pipeline.ts';
import type { Pipeline } from './pipeline.ts';
import { placementScore } from './predict.ts';
import type { Network, SchedulerNode, StagePolicy } from './types.ts';

/** Numbers of stages that are tried; between two of them the halves of a stage differ little. */
const STAGE_COUNTS = [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 32, 40, 48, 64, 80, 96, MAX_ROUTE_HOPS];
/** Pipelines after one another, each of the nodes that were too small for the ones before. */
const MAX_ROUNDS = 4;
/** What nodes that are left over will make of their speed; they are small, so their requests are few. */
const LEFT_OVER_EFFICIENCY = 0.5;
/** Up to this many nodes a chain of the fewest is tried beside even cuts. */
const MAX_CHAINED_NODES = 256;

const NO_ENDS: SliceEnds = { embedding: false, head: false };

/**
 * Pipelines of many nodes: even cuts, and the nodes shared out over the stages, the fastest first, each to the stage
 * that is slowest so far. Whoever is too small for the stages makes a pipeline with more of them.
 */
export function buildPipelines(
  card: ModelCard,
  nodes: readonly SchedulerNode[],
  network: Network,
  stages: StagePolicy,
): readonly Pipeline[] {
  const rates = new Map(nodes.map((node) => [node, saturatedRate(card, node.capability, 1, NO_ENDS)]));
  const rateOf = (node: SchedulerNode) => rates.get(node) ?? 0;
  let left: readonly SchedulerNode[] = nodes.toSorted((a, b) => rateOf(b) - rateOf(a));
  const pipelines: Pipeline[] = [];
  const rounds = stages === 'auto' ? MAX_ROUNDS : 1;
  for (let round = 0; round < rounds && left.length > 0; round += 1) {
    const pipeline = bestPipeline(card, left, network, stages, rateOf);
    if (pipeline === null) break;
    pipelines.push(pipeline);
    left = without(left, pipeline);
  }
  return pipelines;
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
  stages: StagePolicy,
  rateOf: (node: SchedulerNode) => number,
): Pipeline | null {
  const candidates: (readonly Group[] | null)[] = (stages === 'auto' ? STAGE_COUNTS : [stages])
    .filter((count) => count <= Math.min(nodes.length, card.layerCount))
    .map((count) => shareOut(card, nodes, count));
  if (nodes.length <= MAX_CHAINED_NODES || candidates.every((groups) => groups === null)) {
    const chain = coverRange(card, wholeOf(card), nodes, stages === 'auto' ? 'fewest' : stages);
    candidates.push(chain?.map(({ node }) => [node]) ?? null);
  }

  let best: { readonly pipeline: Pipeline; readonly score: number } | null = null;
  for (const groups of candidates) {
    const pipeline = groups === null ? null : formPipeline(card, groups, network);
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
function shareOut(card: ModelCard, nodes: readonly SchedulerNode[], count: number): readonly Group[] | null {
  const stages = Array.from({ length: count }, (_, index) => ({
    layers:
      Math.floor(((index + 1) * card.layerCount) / count) - Math.floor((index * card.layerCount) / count),
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
  return stages.some(({ holders }) => holders.length === 0) ? null : stages.map(({ holders }) => holders);
}
