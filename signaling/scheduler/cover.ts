import { MAX_ROUTE_HOPS } from '../../src/protocol/limits.ts';
import type { ModelCard } from '../../src/protocol/signaling.ts';
import { secondsPerWeightByte } from './cost.ts';
import type { LayerRange, SchedulerNode } from './types.ts';
import { splitRange } from './water-fill.ts';
import type { NodeSlice } from './water-fill.ts';

/**
 * Holds a range of layers with the fewest of the given nodes, or with exactly `stageCount` of them; of the sets of
 * that size, the one whose slowest node is fastest.
 * @returns the slices in order of layers, or null when the nodes cannot hold the range.
 */
export function coverRange(
  card: ModelCard,
  range: LayerRange,
  nodes: readonly SchedulerNode[],
  stageCount: number | 'fewest',
): readonly NodeSlice[] | null {
  if (stageCount !== 'fewest') return coverWith(card, range, nodes, stageCount);
  const most = Math.min(nodes.length, range.layerEnd - range.layerStart, MAX_ROUTE_HOPS);
  for (let count = 1; count <= most; count += 1) {
    const slices = coverWith(card, range, nodes, count);
    if (slices !== null) return slices;
  }
  return null;
}

function coverWith(
  card: ModelCard,
  range: LayerRange,
  nodes: readonly SchedulerNode[],
  count: number,
): readonly NodeSlice[] | null {
  const bySpeed = [...nodes].sort(
    (a, b) => secondsPerWeightByte(a.capability) - secondsPerWeightByte(b.capability),
  );
  const roomiestOfFastest = (fastest: number) => {
    const chosen = new Set(
      bySpeed
        .slice(0, fastest)
        .sort((a, b) => b.capability.memoryBytes - a.capability.memoryBytes)
        .slice(0, count),
    );
    return splitRange(
      card,
      range,
      nodes.filter((node) => chosen.has(node)),
    );
  };

  if (count < 1 || count > nodes.length) return null;
  // Slower nodes only add memory to choose from: when the roomiest of all do not hold it, no other set does.
  const roomiest = roomiestOfFastest(nodes.length);
  if (roomiest === null) return null;
  for (let fastest = count; fastest < nodes.length; fastest += 1) {
    const slices = roomiestOfFastest(fastest);
    if (slices !== null) return slices;
  }
  return roomiest;
}
