import type { ModelCard } from '../../src/protocol/signaling.ts';
import { stepSeconds } from './cost.ts';
import { cutRange } from './cuts.ts';
import { byMemory, fewestThatHold, roomiestCover, sizeOf } from './feasible.ts';
import type { Cover } from './feasible.ts';
import type { NodeSlice } from './slices.ts';
import type { LayerRange, SchedulerNode } from './types.ts';

/** Sets of at most this many nodes are cut with every first and last of them, to find the fastest order. */
const MAX_ORDERED_NODES = 6;
/** Rows of the step that tells which of two nodes is faster. */
const COMPARED_ROWS = 16;

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
  const fewest = stageCount === 'fewest' ? fewestThatHold(card, range, nodes) : null;
  if (stageCount === 'fewest' && fewest === null) return null;
  const count = fewest === null ? stageCount : sizeOf(fewest);
  if (count === 'fewest') return null;
  const cover = fastestCover(card, range, nodes, count);
  return cover === null ? null : cut(card, range, cover, nodes);
}

/** Slower nodes only add memory to choose from: the set is roomy enough from some speed on, which bisection finds. */
function fastestCover(
  card: ModelCard,
  range: LayerRange,
  nodes: readonly SchedulerNode[],
  count: number,
): Cover | null {
  const sorted = byMemory(nodes);
  let best = roomiestCover(card, range, sorted, count);
  if (best === null) return null;
  const bySpeed = nodes.toSorted((a, b) => layerSeconds(card, a) - layerSeconds(card, b));
  const rank = new Map(bySpeed.map((node, index) => [node, index]));
  let [tooFew, enough] = [count - 1, nodes.length];
  while (enough - tooFew > 1) {
    const fastest = (enough + tooFew) >> 1;
    const among = sorted.filter((node) => (rank.get(node) ?? Infinity) < fastest);
    const cover = roomiestCover(card, range, among, count);
    if (cover === null) tooFew = fastest;
    else [best, enough] = [cover, fastest];
  }
  return best;
}

/** What nodes are compared by where memory does not count. */
function layerSeconds(card: ModelCard, { capability }: SchedulerNode): number {
  return stepSeconds(card, capability, { layerStart: 0, layerEnd: 1 }, COMPARED_ROWS, COMPARED_ROWS);
}

/** In order of arrival but for the ends. */
function cut(
  card: ModelCard,
  range: LayerRange,
  cover: Cover,
  nodes: readonly SchedulerNode[],
): readonly NodeSlice[] | null {
  const chosen = new Set([cover.first, ...cover.between, cover.last]);
  const inOrder = nodes.filter((node) => chosen.has(node));
  const orders = inOrder.length > MAX_ORDERED_NODES ? [] : endOrders(inOrder);
  let best: { readonly slices: readonly NodeSlice[]; readonly rate: number } | null = null;
  for (const order of [...orders, roomyOrder(cover, inOrder)]) {
    const cuts = cutRange(
      card,
      range,
      order.map((node) => [node]),
    );
    if (cuts === null || (best !== null && cuts.rate <= best.rate)) continue;
    let layerStart = range.layerStart;
    const slices = order.map((node, index) => {
      const slice = { node, layerStart, layerEnd: layerStart + (cuts.layers[index] ?? 0) };
      layerStart = slice.layerEnd;
      return slice;
    });
    best = { slices, rate: cuts.rate };
  }
  return best?.slices ?? null;
}

function roomyOrder({ first, last }: Cover, nodes: readonly SchedulerNode[]): readonly SchedulerNode[] {
  if (first === last) return [first];
  return [first, ...nodes.filter((node) => node !== first && node !== last), last];
}

/** Everyone as first and everyone as last, the given order first. */
export function endOrders<Item>(items: readonly Item[]): (readonly Item[])[] {
  if (items.length <= 1) return [items];
  const lasts = items.toReversed();
  return items.flatMap((first) =>
    lasts
      .filter((last) => last !== first)
      .map((last) => [first, ...items.filter((item) => item !== first && item !== last), last]),
  );
}
