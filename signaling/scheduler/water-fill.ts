import type { ModelCard } from '../../src/protocol/signaling.ts';
import { layersThatFit, secondsPerToken } from './cost.ts';
import type { SliceEnds } from './cost.ts';
import type { LayerRange, SchedulerNode } from './types.ts';

/** A node and the layers it gets. */
export interface NodeSlice extends LayerRange {
  readonly node: SchedulerNode;
}

interface FilledRange {
  readonly slices: readonly NodeSlice[];
  /** Seconds per token of the slowest slice. */
  readonly bottleneckSeconds: number;
}

/** Nodes that are tried as first or last of a pipeline; of more nodes, only the ones with the most memory. */
const MAX_END_CANDIDATES = 6;

/**
 * Splits a range of layers over all the given nodes, at least one layer each, so that the slowest is as fast as
 * possible. Tries who comes first (and also holds the embedding) and who last (and also holds and computes the head);
 * the others stay in the given order.
 * @returns null when the nodes are too many for the layers or their memory does not hold the range.
 */
export function splitRange(
  card: ModelCard,
  range: LayerRange,
  nodes: readonly SchedulerNode[],
): readonly NodeSlice[] | null {
  let best: FilledRange | null = null;
  for (const order of endOrders(card, range, nodes)) {
    const filled = waterFill(card, range, order);
    if (filled !== null && (best === null || filled.bottleneckSeconds < best.bottleneckSeconds))
      best = filled;
  }
  return best === null ? null : best.slices;
}

function* endOrders(
  card: ModelCard,
  range: LayerRange,
  nodes: readonly SchedulerNode[],
): Generator<readonly SchedulerNode[]> {
  const touchesAnEnd = range.layerStart === 0 || range.layerEnd === card.layerCount;
  if (nodes.length <= 1 || !touchesAnEnd) {
    yield nodes;
    return;
  }
  const byMemory = [...nodes].sort((a, b) => b.capability.memoryBytes - a.capability.memoryBytes);
  const roomiest = new Set(byMemory.slice(0, MAX_END_CANDIDATES));
  const candidates = nodes.filter((node) => roomiest.has(node));
  for (const first of candidates) {
    for (const last of candidates.toReversed()) {
      if (first === last) continue;
      yield [first, ...nodes.filter((node) => node !== first && node !== last), last];
    }
  }
}

/** One layer at a time to whoever is quickest with it: as costs only grow with layers, this makes the maximum least. */
function waterFill(card: ModelCard, range: LayerRange, order: readonly SchedulerNode[]): FilledRange | null {
  const layerCount = range.layerEnd - range.layerStart;
  if (order.length === 0 || order.length > layerCount) return null;

  const shares = order.map((node, index) => {
    const ends: SliceEnds = {
      embedding: index === 0 && range.layerStart === 0,
      head: index === order.length - 1 && range.layerEnd === card.layerCount,
    };
    const seconds = (layers: number) => secondsPerToken(card, node.capability, layers, ends);
    return { node, seconds, layers: 1, capacity: layersThatFit(card, node.capability.memoryBytes, ends) };
  });
  const capacity = shares.reduce((sum, share) => sum + share.capacity, 0);
  if (capacity < layerCount || shares.some((share) => share.capacity < 1)) return null;

  for (let placed = order.length; placed < layerCount; placed += 1) {
    const open = shares.filter((share) => share.layers < share.capacity);
    const quickest = open.reduce((best, share) =>
      share.seconds(share.layers + 1) < best.seconds(best.layers + 1) ? share : best,
    );
    quickest.layers += 1;
  }

  let layerStart = range.layerStart;
  const slices = shares.map((share) => {
    const slice = { node: share.node, layerStart, layerEnd: layerStart + share.layers };
    layerStart = slice.layerEnd;
    return slice;
  });
  return { slices, bottleneckSeconds: Math.max(...shares.map((share) => share.seconds(share.layers))) };
}
