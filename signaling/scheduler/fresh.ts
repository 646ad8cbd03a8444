import type { ModelCard } from '../../src/protocol/signaling.ts';
import { buildPipelines, STAGE_COUNTS, STAGE_FAMILIES, without } from './build.ts';
import type { BuildPlan } from './build.ts';
import { exactPipelines, MAX_EXACT_NODES } from './exact.ts';
import { fewestThatHold } from './feasible.ts';
import { improvePipelines } from './improve.ts';
import { scoreOf } from './pipeline.ts';
import type { Pipeline } from './pipeline.ts';
import type { NodeSlice } from './slices.ts';
import type { Network, SchedulerNode, StagePolicy } from './types.ts';

/** Of more nodes than this the pipelines stay as they were built. */
const MAX_IMPROVED_NODES = 32;
const MAX_TRIALS = 3000;
/** Of a region, after one another, each of the nodes that were too small for the ones before. */
const MAX_PIPELINES = 4;

/**
 * Pipelines for a model that nobody holds yet. Exact for few nodes, built and bettered for some more, built for many.
 * A fixed number of stages makes one pipeline, since between two of them there are routes with other numbers of hops.
 * @returns none when the nodes cannot hold the model.
 */
export function freshPipelines(
  card: ModelCard,
  nodes: readonly SchedulerNode[],
  network: Network,
  stages: StagePolicy,
): readonly Pipeline[] {
  if (nodes.length <= MAX_EXACT_NODES) return exactPipelines(card, nodes, network, stages);
  const clusters = stages === 'auto' ? clustersThatHold(card, nodes, network) : [nodes];
  const build = (plan: BuildPlan) =>
    clusters.flatMap((cluster) => buildPipelines(card, cluster, network, plan));
  if (stages !== 'auto') {
    const built = build({ stageCounts: [stages], cuts: 'by-speed', maxPipelines: 1 });
    return improved(card, nodes, network, stages, built);
  }
  if (nodes.length > MAX_IMPROVED_NODES) {
    const plans = STAGE_FAMILIES.map((stageCounts) => ({
      stageCounts,
      cuts: 'even' as const,
      maxPipelines: MAX_PIPELINES,
    }));
    return plans.map(build).reduce((a, b) => (scoreOf(b) > scoreOf(a) ? b : a));
  }
  const built = build({ stageCounts: STAGE_COUNTS, cuts: 'by-speed', maxPipelines: MAX_PIPELINES });
  return improved(card, nodes, network, stages, built);
}

function improved(
  card: ModelCard,
  nodes: readonly SchedulerNode[],
  network: Network,
  stages: StagePolicy,
  built: readonly Pipeline[],
): readonly Pipeline[] {
  if (nodes.length > MAX_IMPROVED_NODES || built.length === 0) return built;
  const idle = built.reduce<readonly SchedulerNode[]>(without, nodes);
  return improvePipelines(card, built, idle, network, stages, MAX_TRIALS);
}

export function pipelineSlices({ groups, layers }: Pipeline): NodeSlice[] {
  const slices: NodeSlice[] = [];
  let layerStart = 0;
  for (const [index, group] of groups.entries()) {
    const layerEnd = layerStart + (layers[index] ?? 0);
    for (const node of group) slices.push({ node, layerStart, layerEnd });
    layerStart = layerEnd;
  }
  return slices;
}

/** Regions, so that the hops of a pipeline are short; those that cannot hold the model join the nearest until they can. */
export function clustersThatHold(
  card: ModelCard,
  nodes: readonly SchedulerNode[],
  network: Network,
): readonly (readonly SchedulerNode[])[] {
  const byRegion = new Map<number, SchedulerNode[]>();
  for (const node of nodes) {
    const known = byRegion.get(node.region);
    if (known === undefined) byRegion.set(node.region, [node]);
    else known.push(node);
  }
  const clusters = [...byRegion.values()];
  const whole = { layerStart: 0, layerEnd: card.layerCount };
  const holds = (cluster: readonly SchedulerNode[]) => fewestThatHold(card, whole, cluster) !== null;
  for (;;) {
    const small = clusters.find((cluster) => !holds(cluster));
    if (small === undefined || clusters.length === 1) return clusters;
    const others = clusters.filter((cluster) => cluster !== small);
    const nearest = others.reduce((a, b) =>
      rttBetween(network, small, b) < rttBetween(network, small, a) ? b : a,
    );
    clusters.splice(clusters.indexOf(nearest), 1, [...nearest, ...small]);
    clusters.splice(clusters.indexOf(small), 1);
  }
}

function rttBetween(
  { regionRttSeconds }: Network,
  a: readonly SchedulerNode[],
  b: readonly SchedulerNode[],
): number {
  const regions = new Set(b.map(({ region }) => region));
  let least = Infinity;
  for (const from of new Set(a.map(({ region }) => region))) {
    for (const to of regions) least = Math.min(least, regionRttSeconds[from]?.[to] ?? Infinity);
  }
  return least;
}
