import type { ModelCard } from '../../src/protocol/signaling.ts';
import { fits, sliceRate } from './cost.ts';
import { coverRange } from './cover.ts';
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
 * layer, so those with the fewest tokens per second hold up all of them. A copy begins and ends where stages do, because
 * a stage computes its whole slice. Nodes too small for any stage share one between them.
 */
export function replicate(
  models: readonly CoveredModel[],
  idle: readonly SchedulerNode[],
  stages: StagePolicy,
): Replica[] {
  if (idle.length === 0 || models.length === 0) return [];
  const loads = models.map(({ card, slices }) => new LayerRates(card, slices, stages));
  const replicas: Replica[] = [];
  const tooSmall: SchedulerNode[] = [];

  for (const node of idle) {
    const replica = copyOfSlowest(loads, node);
    if (replica === null) tooSmall.push(node);
    else replicas.push(replica);
  }

  let left = tooSmall;
  const wanted = loads
    .flatMap((load) => load.stages.map((stage) => ({ load, stage, rate: load.lowestIn(stage) })))
    .sort((a, b) => a.rate - b.rate);
  for (const { load, stage, rate } of wanted) {
    const shared = coverRange(load.card, stage, left, 'fewest') ?? [];
    replicas.push(...shared.map((slice) => ({ card: load.card, rateBefore: rate, ...slice })));
    left = left.filter((node) => !shared.some((slice) => slice.node === node));
  }
  return replicas;
}

function copyOfSlowest(loads: readonly LayerRates[], node: SchedulerNode): Replica | null {
  const slowestFirst = loads.length === 1 ? loads : loads.toSorted((a, b) => a.lowest() - b.lowest());
  for (const load of slowestFirst) {
    const range = load.bestRangeFor(node);
    if (range === null) continue;
    const rateBefore = load.lowestIn(range);
    load.add(node, range);
    return { card: load.card, node, ...range, rateBefore };
  }
  return null;
}

/** Answer tokens per second of every layer of a model, as all who hold it make them. */
class LayerRates {
  /** What is held, without its holders. */
  readonly stages: readonly LayerRange[];
  /** Stages, and stages in a row. */
  readonly #ranges: readonly LayerRange[];
  readonly #rates: Float64Array;

  constructor(
    readonly card: ModelCard,
    slices: readonly NodeSlice[],
    policy: StagePolicy,
  ) {
    const stages = stagesOf(slices);
    this.stages = stages.map(({ layerStart, layerEnd }) => ({ layerStart, layerEnd }));
    this.#ranges =
      policy === 'auto' && stages.length <= MAX_JOINED_STAGES ? rangesOver(this.stages) : this.stages;
    this.#rates = new Float64Array(card.layerCount);
    for (const stage of stages) this.#addRate(stage, stageRate(card, stage));
  }

  lowest(): number {
    return this.lowestIn({ layerStart: 0, layerEnd: this.card.layerCount });
  }

  lowestIn({ layerStart, layerEnd }: LayerRange): number {
    let lowest = Infinity;
    for (let layer = layerStart; layer < layerEnd; layer += 1) {
      lowest = Math.min(lowest, this.#rates[layer] ?? 0);
    }
    return lowest;
  }

  add(node: SchedulerNode, range: LayerRange): void {
    this.#addRate(range, sliceRate(this.card, node.capability, range));
  }

  /** The range that leaves the slowest layer fastest; of those, the one whose slowest layer is slowest now. */
  bestRangeFor(node: SchedulerNode): LayerRange | null {
    const lowest = this.lowest();
    let best: { readonly range: LayerRange; readonly after: number; readonly before: number } | null = null;
    for (const range of this.#ranges) {
      if (!fits(this.card, node.capability.memoryBytes, range)) continue;
      const before = this.lowestIn(range);
      if (before <= lowest * CACHED_SLACK && this.#isCached(node, range)) return range;
      const after = Math.min(
        before + sliceRate(this.card, node.capability, range),
        this.lowestIn({ layerStart: 0, layerEnd: range.layerStart }),
        this.lowestIn({ layerStart: range.layerEnd, layerEnd: this.card.layerCount }),
      );
      const isBetter = best === null || after > best.after || (after === best.after && before < best.before);
      if (isBetter) best = { range, after, before };
    }
    return best === null ? null : best.range;
  }

  #isCached(node: SchedulerNode, range: LayerRange): boolean {
    return node.cached.some((slice) => slice.model === this.card.id && sameRange(slice, range));
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
