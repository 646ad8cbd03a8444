import type { ModelCard } from '../../src/protocol/signaling.ts';
import { sliceRate } from './cost.ts';
import type { LayerRange, SchedulerNode } from './types.ts';

/** A node and the layers it gets. */
export interface NodeSlice extends LayerRange {
  readonly node: SchedulerNode;
}

/** A range of layers and everybody who holds exactly that. */
export interface Stage extends LayerRange {
  readonly holders: readonly SchedulerNode[];
}

/** Above what a model card may say. */
const MAX_LAYERS = 4096;

/** One number for a range, the same for equal ones. */
export function rangeKey({ layerStart, layerEnd }: LayerRange): number {
  return layerStart * MAX_LAYERS + layerEnd;
}

/** In order of the first holder. */
export function stagesOf(slices: readonly NodeSlice[]): Stage[] {
  const stages = new Map<number, LayerRange & { readonly holders: SchedulerNode[] }>();
  for (const { node, layerStart, layerEnd } of slices) {
    const key = rangeKey({ layerStart, layerEnd });
    const known = stages.get(key);
    if (known === undefined) stages.set(key, { layerStart, layerEnd, holders: [node] });
    else known.holders.push(node);
  }
  return [...stages.values()];
}

/** Answer tokens per second of all holders of a stage together. */
export function stageRate(card: ModelCard, stage: Stage): number {
  return stage.holders.reduce((sum, node) => sum + sliceRate(card, node.capability, stage), 0);
}

export function sameRange(a: LayerRange, b: LayerRange): boolean {
  return a.layerStart === b.layerStart && a.layerEnd === b.layerEnd;
}
