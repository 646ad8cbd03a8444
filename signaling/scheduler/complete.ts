import type { ModelCard } from '../../src/protocol/signaling.ts';
import { bestChain } from './chain.ts';
import { coverRange } from './cover.ts';
import { fits, sliceRate } from './cost.ts';
import { sameRange } from './slices.ts';
import type { NodeSlice } from './slices.ts';
import type { LayerRange, SchedulerNode, StagePolicy } from './types.ts';

/** Of more holders than this not each one and each pair is tried for moving, to stay in milliseconds, but all at once. */
const MAX_HOLDERS_MOVED_SINGLY = 16;
/** A node that still has the weights of a gap gets it, if it is at least so many times as fast as the fastest that could. */
const CACHED_RATE_SHARE = 1 / 4;

/**
 * Makes one pipeline of what is held and what idle nodes can add, moving as few holders as possible: first none, then
 * the ones that hold a second copy, then one, then two, then all.
 * @param mayMove tells holders that may; by default all of them.
 * @returns the slices that change (none when the model is whole already), or null when no placement holds the model.
 */
export function completePipeline(
  card: ModelCard,
  held: readonly NodeSlice[],
  idle: readonly SchedulerNode[],
  stages: StagePolicy,
  mayMove: (slice: NodeSlice) => boolean = () => true,
): readonly NodeSlice[] | null {
  for (const moved of movableSets(card, held, mayMove)) {
    const staying = held.filter((slice) => !moved.includes(slice));
    const free = [...idle, ...moved.map((slice) => slice.node)];
    const added = fillGaps(card, staying, free, stages);
    if (added !== null) return added;
  }
  return null;
}

function* movableSets(
  card: ModelCard,
  held: readonly NodeSlice[],
  mayMove: (slice: NodeSlice) => boolean,
): Generator<readonly NodeSlice[]> {
  yield [];
  const needed = new Set(bestChain(card.layerCount, held).slices);
  const movable = held.filter(mayMove);
  const spare = movable.filter((slice) => !needed.has(slice));
  if (spare.length > 0) yield spare;
  if (movable.length <= MAX_HOLDERS_MOVED_SINGLY) {
    for (const one of movable) yield [one];
    for (const [index, one] of movable.entries()) {
      for (const other of movable.slice(index + 1)) yield [one, other];
    }
  }
  yield movable;
}

function fillGaps(
  card: ModelCard,
  staying: readonly NodeSlice[],
  free: readonly SchedulerNode[],
  stages: StagePolicy,
): readonly NodeSlice[] | null {
  const { slices, gaps } = bestChain(card.layerCount, staying);
  const counts = stagesPerGap(gaps, stages === 'auto' ? 'auto' : stages - slices.length);
  if (counts === null) return null;

  const added: NodeSlice[] = [];
  for (const [index, gap] of gaps.entries()) {
    const unused = free.filter((node) => !added.some((slice) => slice.node === node));
    const count = counts[index] ?? 'fewest';
    const filled = fromCache(card, gap, unused, count) ?? coverRange(card, gap, unused, count);
    if (filled === null) return null;
    added.push(...filled);
  }
  return added;
}

/**
 * The gap as one stage on a node that still has its weights. It says so itself and nobody checks it, so that is worth so much
 * only: a node much slower than others that hold the gap does not come before them.
 */
function fromCache(
  card: ModelCard,
  gap: LayerRange,
  nodes: readonly SchedulerNode[],
  count: number | 'fewest',
): readonly NodeSlice[] | null {
  if (count !== 'fewest' && count !== 1) return null;
  const able = nodes.filter(({ capability }) => fits(card, capability.memoryBytes, gap));
  const rates = able.map(({ capability }) => sliceRate(card, capability, gap));
  const leastRate = Math.max(0, ...rates) * CACHED_RATE_SHARE;
  const node = able.find(
    ({ cached }, index) =>
      cached.some((slice) => slice.model === card.id && sameRange(slice, gap)) &&
      (rates[index] ?? 0) >= leastRate,
  );
  return node === undefined ? null : [{ node, layerStart: gap.layerStart, layerEnd: gap.layerEnd }];
}

/** Shares the stages that are still to come among the gaps, the next always to the gap with the most layers per stage. */
function stagesPerGap(gaps: readonly LayerRange[], open: StagePolicy): readonly (number | 'fewest')[] | null {
  if (open === 'auto') return gaps.map(() => 'fewest');
  if (gaps.length === 0) return [];
  if (open < gaps.length) return null;
  const shares = gaps.map((gap) => ({ layers: gap.layerEnd - gap.layerStart, stages: 1 }));
  for (let given = gaps.length; given < open; given += 1) {
    const thickest = shares.reduce((a, b) => (b.layers / b.stages > a.layers / a.stages ? b : a));
    thickest.stages += 1;
  }
  return shares.map((share) => share.stages);
}
