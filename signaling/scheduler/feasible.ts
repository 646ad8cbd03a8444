import { MAX_ROUTE_HOPS } from '../../src/protocol/limits.ts';
import type { ModelCard } from '../../src/protocol/signaling.ts';
import type { SliceEnds } from '../../src/protocol/slice-bytes.ts';
import { layersThatFit } from './cost.ts';
import { endsAt } from './cuts.ts';
import type { LayerRange, SchedulerNode } from './types.ts';

const NO_ENDS: SliceEnds = { embedding: false, head: false };

/** A set of nodes that hold a range together. */
export interface Cover {
  /** One of them where a single node holds the range. */
  readonly first: SchedulerNode;
  readonly last: SchedulerNode;
  readonly between: readonly SchedulerNode[];
}

/** The most memory first. */
export function byMemory(nodes: readonly SchedulerNode[]): readonly SchedulerNode[] {
  return nodes.toSorted((a, b) => b.capability.memoryBytes - a.capability.memoryBytes);
}

/**
 * The roomiest `count` nodes for a range, with the first and the last chosen so that the range fits: layers are all of
 * one size, so nodes hold it when as many layers fit into them one by one. What an end needs beside its layers costs
 * memory on one node only, the one that loses the fewest layers by it.
 * @param sorted `byMemory`.
 * @returns null when no `count` of the nodes hold the range.
 */
export function roomiestCover(
  card: ModelCard,
  range: LayerRange,
  sorted: readonly SchedulerNode[],
  count: number,
): Cover | null {
  const needed = range.layerEnd - range.layerStart;
  if (count < 1 || count > sorted.length || count > needed || count > MAX_ROUTE_HOPS) return null;
  const [firstEnds, lastEnds] = [endsAt(card, range, 0, count), endsAt(card, range, count - 1, count)];
  let whole = 0;
  const losses = sorted.slice(0, count).map((node) => {
    const { memoryBytes } = node.capability;
    const capacity = layersThatFit(card, memoryBytes, NO_ENDS);
    const lossOf = (ends: SliceEnds) => {
      const left = layersThatFit(card, memoryBytes, ends);
      return left < 1 ? Infinity : capacity - left;
    };
    whole += capacity;
    return { node, capacity, asFirst: lossOf(firstEnds), asLast: lossOf(lastEnds) };
  });
  if (losses.some(({ capacity }) => capacity < 1)) return null;
  const [only] = losses;
  if (count === 1) {
    if (only === undefined || whole - only.asFirst < needed) return null;
    return { first: only.node, last: only.node, between: [] };
  }
  const firsts = losses.toSorted((a, b) => a.asFirst - b.asFirst).slice(0, 2);
  const lasts = losses.toSorted((a, b) => a.asLast - b.asLast).slice(0, 2);
  for (const first of firsts) {
    for (const last of lasts) {
      if (first === last || whole - first.asFirst - last.asLast < needed) continue;
      const between = losses.filter((entry) => entry !== first && entry !== last).map(({ node }) => node);
      return { first: first.node, last: last.node, between };
    }
  }
  return null;
}

/** The roomiest of the fewest nodes that can hold a range, or null when all of them cannot. */
export function fewestThatHold(
  card: ModelCard,
  range: LayerRange,
  nodes: readonly SchedulerNode[],
): Cover | null {
  const sorted = byMemory(nodes);
  const needed = range.layerEnd - range.layerStart;
  const most = Math.min(sorted.length, needed, MAX_ROUTE_HOPS);
  let capacity = 0;
  for (let count = 1; count <= most; count += 1) {
    capacity += layersThatFit(card, sorted[count - 1]?.capability.memoryBytes ?? 0, NO_ENDS);
    if (capacity < needed) continue;
    const cover = roomiestCover(card, range, sorted, count);
    if (cover !== null) return cover;
  }
  return null;
}

export function sizeOf({ first, last, between }: Cover): number {
  return between.length + (first === last ? 1 : 2);
}
