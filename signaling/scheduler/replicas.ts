import type { ModelCard } from '../../src/protocol/signaling.ts';
import { sliceBytes, sliceSeconds } from './cost.ts';
import { coverRange } from './cover.ts';
import type { LayerRange, SchedulerNode } from './types.ts';
import type { NodeSlice } from './water-fill.ts';

/** One stage of a model and everybody who holds it. */
interface Stage extends LayerRange {
  readonly card: ModelCard;
  readonly holders: SchedulerNode[];
}

/** Who holds what of a model that is covered. */
export interface CoveredModel {
  readonly card: ModelCard;
  readonly slices: readonly NodeSlice[];
}

export interface Replica extends NodeSlice {
  readonly card: ModelCard;
}

/**
 * Gives idle nodes a copy of the slowest stage they can hold: every request passes every stage, so the stage with the
 * fewest tokens per second is the one that holds up all of them. Nodes too small for any stage share one between them.
 */
export function replicate(models: readonly CoveredModel[], idle: readonly SchedulerNode[]): Replica[] {
  const stages = models.flatMap(({ card, slices }) => stagesOf(card, slices));
  const replicas: Replica[] = [];
  const tooSmall: SchedulerNode[] = [];

  for (const node of idle) {
    const stage = slowestFirst(stages).find(
      (candidate) => sliceBytes(candidate.card, candidate) <= node.capability.memoryBytes,
    );
    if (stage === undefined) {
      tooSmall.push(node);
      continue;
    }
    stage.holders.push(node);
    const { card, layerStart, layerEnd } = stage;
    replicas.push({ card, node, layerStart, layerEnd });
  }

  for (const stage of slowestFirst(stages)) {
    const unused = tooSmall.filter((node) => !replicas.some((replica) => replica.node === node));
    const shared = coverRange(stage.card, stage, unused, 'fewest') ?? [];
    replicas.push(...shared.map((slice) => ({ card: stage.card, ...slice })));
  }
  return replicas;
}

function stagesOf(card: ModelCard, slices: readonly NodeSlice[]): Stage[] {
  const stages: Stage[] = [];
  for (const { node, layerStart, layerEnd } of slices) {
    const known = stages.find((stage) => stage.layerStart === layerStart && stage.layerEnd === layerEnd);
    if (known === undefined) stages.push({ card, layerStart, layerEnd, holders: [node] });
    else known.holders.push(node);
  }
  return stages;
}

function slowestFirst(stages: readonly Stage[]): Stage[] {
  return stages
    .map((stage) => ({ stage, rate: tokensPerSecond(stage) }))
    .sort((a, b) => a.rate - b.rate)
    .map(({ stage }) => stage);
}

function tokensPerSecond(stage: Stage): number {
  return stage.holders.reduce((sum, node) => sum + 1 / sliceSeconds(stage.card, node.capability, stage), 0);
}
