import type { ModelCard } from '../../src/protocol/signaling.ts';
import { sliceEnds } from '../../src/protocol/slice-bytes.ts';
import { bestChain } from './chain.ts';
import { fits, saturatedRate, sliceRate } from './cost.ts';
import { placementScore, predict } from './predict.ts';
import type { NodeSlice } from './slices.ts';
import type { LayerRange, Network, SchedulerNode } from './types.ts';

/** Numbers of even stages; each divides the next, so that whatever two peers hold fits together. */
const STAGE_FAMILIES: readonly (readonly number[])[] = [
  [1, 2, 4, 8, 16, 32],
  [1, 3, 6, 12, 24, 48],
  [1, 5, 10, 20, 40],
  [2, 6, 18, 36],
  [3, 9, 18, 36],
  [4, 12, 36],
  [7, 14, 28],
];
/** A peer takes the longest stages at which it computes this share of what it could with shorter ones and more cache. */
const LEAST_SHARES_OF_WORK: readonly number[] = [0.4, 0.7, 0.95];
/** Numbers of stages into which what is held already is cut finer. */
const FINER_STAGES: readonly number[] = [4, 6, 9, 12];
/** Of more peers a sample of this many tells which family is best. */
const MAX_SAMPLED_NODES = 192;

/** Stages of one length or about, from layer 0 to the head. */
type Level = readonly LayerRange[];

interface Plan {
  /** The longest stages first. */
  readonly levels: readonly Level[];
  readonly leastShareOfWork: number;
}

export interface Filled {
  /** Of the free nodes; who is too small for all stages is missing. */
  readonly slices: readonly NodeSlice[];
  /** With those that stay. */
  readonly score: number;
}

/**
 * Gives free nodes slices of the one family of cuts with which the mesh is predicted to do best, beside slices that stay.
 * @param clusters the free nodes; each cluster evens out its own layers, so that requests need not leave it.
 * @returns null when the family with the best score still leaves a layer to nobody.
 */
export function fillBestFamily(
  card: ModelCard,
  staying: readonly NodeSlice[],
  clusters: readonly (readonly SchedulerNode[])[],
  network: Network,
): Filled | null {
  const fillAll = (plan: Plan, among: readonly (readonly SchedulerNode[])[]): Filled => {
    const slices = among.flatMap((cluster) => fill(card, staying, cluster, plan));
    return { slices, score: placementScore(predict(card, [...staying, ...slices], network)) };
  };
  const count = clusters.reduce((sum, { length }) => sum + length, 0);
  const stride = Math.ceil(count / MAX_SAMPLED_NODES);
  const sample = clusters.map((cluster) => cluster.filter((_, index) => index % stride === 0));
  let best: { readonly plan: Plan; readonly filled: Filled } | null = null;
  for (const plan of plansFor(card, staying)) {
    const filled = fillAll(plan, sample);
    if (filled.score > (best?.filled.score ?? 0)) best = { plan, filled };
  }
  if (best === null) return null;
  const filled = stride === 1 ? best.filled : fillAll(best.plan, clusters);
  return filled.score > 0 ? filled : null;
}

function* plansFor(card: ModelCard, staying: readonly NodeSlice[]): Generator<Plan> {
  const levelLists: (readonly Level[])[] = [];
  const known = new Set<string>();
  for (const family of STAGE_FAMILIES) {
    const counts = family.filter((count) => count <= card.layerCount);
    for (const from of counts.keys()) {
      const suffix = counts.slice(from);
      if (known.has(suffix.join())) continue;
      known.add(suffix.join());
      levelLists.push(suffix.map((stages) => evenLevel(card.layerCount, stages)));
    }
  }
  const chain = bestChain(card.layerCount, staying).slices;
  if (chain.length > 0) {
    levelLists.push(...FINER_STAGES.map((stages) => [finerLevel(card.layerCount, chain, stages)]));
  }
  for (const levels of levelLists) {
    for (const leastShareOfWork of LEAST_SHARES_OF_WORK) yield { levels, leastShareOfWork };
  }
}

function evenLevel(layerCount: number, stages: number): Level {
  return evenParts({ layerStart: 0, layerEnd: layerCount }, stages);
}

function evenParts({ layerStart, layerEnd }: LayerRange, count: number): LayerRange[] {
  const boundary = (index: number) => layerStart + Math.floor((index * (layerEnd - layerStart)) / count);
  return Array.from({ length: count }, (_, index) => ({
    layerStart: boundary(index),
    layerEnd: boundary(index + 1),
  }));
}

/** Slices that follow each other, the long ones in parts about as long as stages of an even cut. */
function finerLevel(layerCount: number, chain: readonly LayerRange[], stages: number): Level {
  return chain.flatMap((slice) => {
    const parts = Math.ceil(((slice.layerEnd - slice.layerStart) * stages) / layerCount);
    return evenParts(slice, Math.min(parts, slice.layerEnd - slice.layerStart));
  });
}

/** The nodes with the longest stages first, of those the fastest, each to the stage of its length that is slowest so far. */
function fill(
  card: ModelCard,
  staying: readonly NodeSlice[],
  cluster: readonly SchedulerNode[],
  { levels, leastShareOfWork }: Plan,
): NodeSlice[] {
  const regions = new Set(cluster.map(({ region }) => region));
  const rates = new Float64Array(card.layerCount);
  const add = ({ node, layerStart, layerEnd }: NodeSlice) => {
    const rate = sliceRate(card, node.capability, { layerStart, layerEnd });
    for (let layer = layerStart; layer < layerEnd; layer += 1) rates[layer] = (rates[layer] ?? 0) + rate;
  };
  for (const slice of staying) if (regions.has(slice.node.region)) add(slice);

  const ordered = cluster
    .map((node) => ({ node, ...longestLevel(card, node, levels, leastShareOfWork) }))
    .sort((a, b) => a.level - b.level || b.work - a.work);
  const slices: NodeSlice[] = [];
  for (const { node, level } of ordered) {
    const stage = slowestThatFits(card, node, levels[level] ?? [], rates);
    if (stage === null) continue;
    const slice = { node, layerStart: stage.layerStart, layerEnd: stage.layerEnd };
    add(slice);
    slices.push(slice);
  }
  return slices;
}

/** The level with the longest stages at which a node does enough of what it does at its best one, in layers per second. */
function longestLevel(
  card: ModelCard,
  node: SchedulerNode,
  levels: readonly Level[],
  leastShareOfWork: number,
): { readonly level: number; readonly work: number } {
  const works = levels.map((stages) => workAt(card, node, stages));
  const best = Math.max(...works);
  const level = works.findIndex((work) => work > 0 && work >= best * leastShareOfWork);
  return level === -1 ? { level: levels.length, work: 0 } : { level, work: works[level] ?? 0 };
}

/** At the best of the first stage, one in the middle and the last. */
function workAt(card: ModelCard, { capability }: SchedulerNode, stages: Level): number {
  let best = 0;
  for (const index of new Set([0, stages.length >> 1, stages.length - 1])) {
    const stage = stages[index];
    if (stage === undefined || !fits(card, capability.memoryBytes, stage)) continue;
    const layers = stage.layerEnd - stage.layerStart;
    best = Math.max(best, layers * saturatedRate(card, capability, layers, sliceEnds(card, stage)));
  }
  return best;
}

function slowestThatFits(
  card: ModelCard,
  { capability }: SchedulerNode,
  stages: Level,
  rates: Float64Array,
): LayerRange | null {
  let slowest: LayerRange | null = null;
  let least = Infinity;
  for (const stage of stages) {
    let rate = Infinity;
    for (let layer = stage.layerStart; layer < stage.layerEnd; layer += 1) {
      rate = Math.min(rate, rates[layer] ?? 0);
    }
    if (rate < least && fits(card, capability.memoryBytes, stage)) [slowest, least] = [stage, rate];
  }
  return slowest;
}
