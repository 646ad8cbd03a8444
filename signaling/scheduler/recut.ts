import type { ModelCard } from '../../src/protocol/signaling.ts';
import { fits, sliceRate } from './cost.ts';
import { fillBestFamily } from './family.ts';
import { clustersThatHold } from './fresh.ts';
import { flowOf, placementScore, predict } from './predict.ts';
import { rangeKey, sameRange, stagesOf } from './slices.ts';
import type { NodeSlice } from './slices.ts';
import type { Network, SchedulerNode } from './types.ts';

/** Flows over fewer slices are sums in another order. */
const ROUNDING = 1 - 1e-9;

export interface Recut {
  /** Of those that change what they hold, and of those that held nothing. */
  readonly moves: readonly NodeSlice[];
  /** Of everybody, after all moves. */
  readonly score: number;
}

/**
 * Cuts a large mesh anew where that makes more of it: who is not needed for today's flow goes to the family of
 * cuts that is best beside those that stay.
 * @param keptShare of the flow, that stays where it is while the others load: 1, or 0 while nobody is served.
 * @returns null when no family holds the model.
 */
export function recut(
  card: ModelCard,
  held: readonly NodeSlice[],
  idle: readonly SchedulerNode[],
  canMove: (node: SchedulerNode) => boolean,
  keptShare: number,
  network: Network,
): Recut | null {
  const free = dispensable(card, held, canMove, keptShare);
  if (free.size === 0) return null;
  const staying = held.filter((slice) => !free.has(slice));
  const nodes = [...[...free].map(({ node }) => node), ...idle];
  const filled = fillBestFamily(card, staying, clustersThatHold(card, nodes, network), network);
  if (filled === null) return null;
  const slices = withFewestMoves(card, [...free], filled.slices);
  const before = new Map(held.map((slice) => [slice.node, slice]));
  const moves = slices.filter((slice) => {
    const now = before.get(slice.node);
    return now === undefined || !sameRange(now, slice);
  });
  const after = new Map([...before, ...slices.map((slice) => [slice.node, slice] as const)]);
  return { moves, score: placementScore(predict(card, [...after.values()], network)) };
}

/** As many slices as the flow can do without, the slowest of every stage first. */
function dispensable(
  card: ModelCard,
  held: readonly NodeSlice[],
  canMove: (node: SchedulerNode) => boolean,
  keptShare: number,
): ReadonlySet<NodeSlice> {
  const movable = held.filter(({ node }) => canMove(node));
  const needed = keptShare * flowOf(card, stagesOf(held)) * ROUNDING;
  const free = new Set<NodeSlice>();
  for (const stage of stagesOf(movable)) {
    const slowestFirst = movable
      .filter((slice) => sameRange(slice, stage))
      .sort((a, b) => sliceRate(card, a.node.capability, a) - sliceRate(card, b.node.capability, b));
    const flowWithout = (count: number) => {
      const gone = new Set(slowestFirst.slice(0, count));
      return flowOf(card, stagesOf(held.filter((slice) => !free.has(slice) && !gone.has(slice))));
    };
    let [enough, tooMany] = [0, slowestFirst.length + 1];
    while (tooMany - enough > 1) {
      const count = (enough + tooMany) >> 1;
      if (flowWithout(count) >= needed) enough = count;
      else tooMany = count;
    }
    for (const slice of slowestFirst.slice(0, enough)) free.add(slice);
  }
  return free;
}

/** Who holds already what another is to be given keeps it, and the other takes what was meant for it. */
function withFewestMoves(
  card: ModelCard,
  held: readonly NodeSlice[],
  slices: readonly NodeSlice[],
): readonly NodeSlice[] {
  const target = new Map(slices.map((slice) => [slice.node, slice]));
  const before = new Map(held.map((slice) => [slice.node, slice]));
  const wanted = new Map<number, SchedulerNode[]>();
  for (const slice of slices) {
    const now = before.get(slice.node);
    if (now !== undefined && sameRange(now, slice)) continue;
    const nodes = wanted.get(rangeKey(slice));
    if (nodes === undefined) wanted.set(rangeKey(slice), [slice.node]);
    else nodes.push(slice.node);
  }
  for (const { node, ...range } of held) {
    const own = target.get(node);
    if (own === undefined || sameRange(own, range)) continue;
    const others = wanted.get(rangeKey(range)) ?? [];
    const index = others.findIndex((other) => {
      const theirs = target.get(other);
      return (
        other.region === node.region &&
        theirs !== undefined &&
        sameRange(theirs, range) &&
        fits(card, other.capability.memoryBytes, own)
      );
    });
    const [other] = index === -1 ? [] : others.splice(index, 1);
    if (other === undefined) continue;
    target.set(node, { ...range, node });
    target.set(other, { ...own, node: other });
    wanted.set(rangeKey(own), [...(wanted.get(rangeKey(own)) ?? []), other]);
  }
  return [...target.values()];
}
