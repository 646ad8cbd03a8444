import type { ModelCard } from '../../src/protocol/signaling.ts';
import { fits, sliceRate } from './cost.ts';
import { fewestThatHold } from './feasible.ts';
import { Reach } from './reach.ts';
import { rangeKey, sameRange, stageRate, stagesOf } from './slices.ts';
import type { NodeSlice } from './slices.ts';
import type { LayerRange, SchedulerNode, StagePolicy } from './types.ts';

/** With more stages than this a newcomer copies one of them, and not several in a row. */
const MAX_JOINED_STAGES = 12;
/** A newcomer that still has a stage's weights gets it even if another is slower, as long as it is not slower by this. */
const CACHED_SLACK = 1.5;

/** Who holds what of a model that is covered. */
export interface CoveredModel {
  readonly card: ModelCard;
  readonly slices: readonly NodeSlice[];
}

export interface Replica extends NodeSlice {
  readonly card: ModelCard;
  /** Answer tokens per second of its layers before, where they were slowest. */
  readonly rateBefore: number;
}

/**
 * Gives idle nodes a copy of the slowest layers they can hold, of the slowest model first: every request passes every
 * layer, so those with the fewest tokens per second hold up all of them. Where the peers of a region hold the model on
 * their own, its slowest layers count, so that requests need not leave it. A copy begins and ends where stages do,
 * because a stage computes its whole slice; nodes too small for any take halves of stages, or halves of halves, so that
 * what they hold fits together with what other small nodes do.
 * @param nodes everybody, idle or not.
 */
export function replicate(
  models: readonly CoveredModel[],
  idle: readonly SchedulerNode[],
  nodes: readonly SchedulerNode[],
  stages: StagePolicy,
): Replica[] {
  if (idle.length === 0 || models.length === 0) return [];
  const loads = models.map((model) => new ModelLoad(model, nodes, stages));
  return copiesFor(idle, loads, false);
}

/**
 * Useful work for nodes that hold layers whose neighbours nobody holds any more, so that no route goes over them.
 * @returns where they go; who is not in it has nothing better to do than to wait for neighbours.
 */
export function employ(
  models: readonly CoveredModel[],
  orphans: readonly SchedulerNode[],
  nodes: readonly SchedulerNode[],
  stages: StagePolicy,
): Replica[] {
  const without = models.map(({ card, slices }) => ({
    card,
    slices: slices.filter(({ node }) => !orphans.includes(node)),
  }));
  const loads = without.map((model) => new ModelLoad(model, nodes, stages));
  return copiesFor(orphans, loads, true);
}

/** Nodes whose slices are part of no route. */
export function orphansOf({ card, slices }: CoveredModel): SchedulerNode[] {
  const reach = new Reach(card.layerCount, slices);
  return slices.filter((slice) => !reach.isUseful(slice)).map(({ node }) => node);
}

function copiesFor(
  nodes: readonly SchedulerNode[],
  loads: readonly ModelLoad[],
  mustBeUseful: boolean,
): Replica[] {
  const replicas: Replica[] = [];
  for (const node of nodes) {
    const slowestFirst = loads.length === 1 ? loads : loads.toSorted((a, b) => a.lowest() - b.lowest());
    for (const load of slowestFirst) {
      const replica = load.copyFor(node, mustBeUseful);
      if (replica === null) continue;
      replicas.push(replica);
      break;
    }
  }
  return replicas;
}

/** What a model's layers can do in the mesh, and in every region that holds the model on its own. */
class ModelLoad {
  readonly #card: ModelCard;
  readonly #all: LayerRates;
  readonly #ofRegion = new Map<number, LayerRates>();
  /** Slices that are part of a route, and such slices in a row where there are few. */
  #ranges: readonly LayerRange[];
  /** Everything that is held, of use or not. */
  #held: readonly LayerRange[];
  #reach: Reach;
  /** Slices that lack a neighbour; they count once somebody takes the layers beside them. */
  #waiting: readonly NodeSlice[];

  constructor({ card, slices }: CoveredModel, nodes: readonly SchedulerNode[], policy: StagePolicy) {
    this.#card = card;
    this.#held = stagesOf(slices).map(({ layerStart, layerEnd }) => ({ layerStart, layerEnd }));
    this.#reach = new Reach(card.layerCount, this.#held);
    const useful = slices.filter((slice) => this.#reach.isUseful(slice));
    this.#waiting = slices.filter((slice) => !this.#reach.isUseful(slice));
    this.#all = new LayerRates(card, useful);
    const stages = this.#held.filter((range) => this.#reach.isUseful(range));
    const canJoin = policy === 'auto' && stages.length <= MAX_JOINED_STAGES;
    this.#ranges = canJoin ? rangesOver(stages) : stages;
    const regions = new Set(nodes.map(({ region }) => region));
    if (regions.size === 1) return;
    for (const region of regions) {
      const own = nodes.filter((node) => node.region === region);
      if (fewestThatHold(card, { layerStart: 0, layerEnd: card.layerCount }, own) === null) continue;
      const held = useful.filter(({ node }) => node.region === region);
      // Whoever comes first, or is not placed in a region yet, helps where all need it most.
      if (held.length > 0) this.#ofRegion.set(region, new LayerRates(card, held));
    }
  }

  lowest(): number {
    return this.#all.lowest();
  }

  /**
   * @param mustBeUseful whether to give it nothing rather than layers that are of use only once somebody takes their neighbours.
   * @returns null when not even one layer fits.
   */
  copyFor(node: SchedulerNode, mustBeUseful: boolean): Replica | null {
    const rates = this.#ofRegion.get(node.region) ?? this.#all;
    const fitting = this.#rangesThatFit(node);
    const useful = fitting.filter((range) => this.#reach.isUseful(range));
    const range = rates.bestRangeFor(node, useful.length > 0 || mustBeUseful ? useful : fitting);
    if (range === null) return null;
    const rateBefore = rates.lowestIn(range);
    const { layerStart, layerEnd } = range;
    this.#take({ node, layerStart, layerEnd });
    return { card: this.#card, node, layerStart, layerEnd, rateBefore };
  }

  #take(slice: NodeSlice): void {
    this.#waiting = [...this.#waiting, slice];
    if (!this.#held.some((known) => sameRange(known, slice))) {
      this.#held = [...this.#held, slice];
      this.#reach = new Reach(this.#card.layerCount, this.#held);
    }
    const useful = this.#waiting.filter((waiting) => this.#reach.isUseful(waiting));
    if (useful.length === 0) return;
    this.#waiting = this.#waiting.filter((waiting) => !this.#reach.isUseful(waiting));
    for (const { node, layerStart, layerEnd } of useful) {
      const range = { layerStart, layerEnd };
      this.#all.add(node, range);
      this.#ofRegion.get(node.region)?.add(node, range);
      if (!this.#ranges.some((known) => sameRange(known, range))) this.#ranges = [...this.#ranges, range];
    }
  }

  /** Everything that is of use, halved as often as it takes to fit. */
  #rangesThatFit(node: SchedulerNode): readonly LayerRange[] {
    const parts = new Map<number, LayerRange>();
    const visit = (range: LayerRange): void => {
      if (fits(this.#card, node.capability.memoryBytes, range)) {
        parts.set(rangeKey(range), range);
        return;
      }
      if (range.layerEnd - range.layerStart === 1) return;
      const middle = Math.floor((range.layerStart + range.layerEnd) / 2);
      visit({ layerStart: range.layerStart, layerEnd: middle });
      visit({ layerStart: middle, layerEnd: range.layerEnd });
    };
    for (const range of this.#ranges) visit(range);
    return [...parts.values()];
  }
}

/** A range that a node could take, and the slowest layer of the model after and of the range before. */
interface Copy {
  readonly range: LayerRange;
  readonly after: number;
  readonly before: number;
}

/** Of equals the longer, which makes routes shorter. */
function isBetter(a: Copy, b: Copy): boolean {
  if (a.after !== b.after) return a.after > b.after;
  if (a.before !== b.before) return a.before < b.before;
  return a.range.layerEnd - a.range.layerStart > b.range.layerEnd - b.range.layerStart;
}

/** Answer tokens per second of every layer of a model, as all who hold it make them. */
class LayerRates {
  readonly #card: ModelCard;
  readonly #rates: Float64Array;

  constructor(card: ModelCard, slices: readonly NodeSlice[]) {
    this.#card = card;
    this.#rates = new Float64Array(card.layerCount);
    for (const stage of stagesOf(slices)) this.#addRate(stage, stageRate(card, stage));
  }

  lowest(): number {
    return this.lowestIn({ layerStart: 0, layerEnd: this.#card.layerCount });
  }

  lowestIn({ layerStart, layerEnd }: LayerRange): number {
    let lowest = Infinity;
    for (let layer = layerStart; layer < layerEnd; layer += 1) {
      lowest = Math.min(lowest, this.#rates[layer] ?? 0);
    }
    return lowest;
  }

  add(node: SchedulerNode, range: LayerRange): void {
    this.#addRate(range, sliceRate(this.#card, node.capability, range));
  }

  /** Of ranges that fit, the one that leaves the slowest layer fastest; of those, the one whose slowest layer is slowest now. */
  bestRangeFor(node: SchedulerNode, ranges: readonly LayerRange[]): LayerRange | null {
    const lowest = this.lowest();
    let best: Copy | null = null;
    for (const range of ranges) {
      const before = this.lowestIn(range);
      if (before <= lowest * CACHED_SLACK && this.#isCached(node, range)) return range;
      const after = Math.min(
        before + sliceRate(this.#card, node.capability, range),
        this.lowestIn({ layerStart: 0, layerEnd: range.layerStart }),
        this.lowestIn({ layerStart: range.layerEnd, layerEnd: this.#card.layerCount }),
      );
      const candidate = { range, after, before };
      if (best === null || isBetter(candidate, best)) best = candidate;
    }
    return best === null ? null : best.range;
  }

  #isCached(node: SchedulerNode, range: LayerRange): boolean {
    return node.cached.some((slice) => slice.model === this.#card.id && sameRange(slice, range));
  }

  #addRate({ layerStart, layerEnd }: LayerRange, rate: number): void {
    for (let layer = layerStart; layer < layerEnd; layer += 1) {
      this.#rates[layer] = (this.#rates[layer] ?? 0) + rate;
    }
  }
}

/** Every way to go over stages that follow each other; the stages themselves first. */
function rangesOver(stages: readonly LayerRange[]): readonly LayerRange[] {
  const ranges = new Map(stages.map((stage) => [rangeKey(stage), stage]));
  for (const range of ranges.values()) {
    for (const { layerStart, layerEnd } of stages) {
      if (layerStart !== range.layerEnd) continue;
      const joined = { layerStart: range.layerStart, layerEnd };
      if (!ranges.has(rangeKey(joined))) ranges.set(rangeKey(joined), joined);
    }
  }
  return [...ranges.values()];
}
