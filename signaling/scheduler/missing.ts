import type { ModelCard } from '../../src/protocol/signaling.ts';
import { bestChain } from './chain.ts';
import { sliceBytes } from './cost.ts';
import type { LayerRange, SchedulerNode, StagePolicy } from './types.ts';
import type { NodeSlice } from './slices.ts';

const BYTES_PER_MIB = 1024 * 1024;

/** Layers as people count them in ranges: `[3, 6)` is "layers 3–5". */
export function layersInWords({ layerStart, layerEnd }: LayerRange): string {
  return layerEnd - layerStart === 1 ? `layer ${layerStart}` : `layers ${layerStart}–${layerEnd - 1}`;
}

/** What keeps a model from being whole, and what would help: "layers 3–5 are held by nobody; waiting for 1 more peer". @param hasWish tells who holds what its owner wishes for. */
export function describeMissing(
  card: ModelCard,
  held: readonly NodeSlice[],
  idle: readonly SchedulerNode[],
  stages: StagePolicy,
  hasWish: (slice: NodeSlice) => boolean = () => false,
): string {
  const { slices, gaps } = bestChain(card.layerCount, held);
  const ranges = gaps.map(layersInWords).join(' and ');
  const verb = gaps.length === 1 && gaps.every((gap) => gap.layerEnd - gap.layerStart === 1) ? 'is' : 'are';
  const isHeld = `${ranges} ${verb} held by nobody`;
  if (!slices.some(hasWish)) return `${isHeld}; ${whatWouldHelp(card, slices, idle, stages)}`;
  // Who holds what it wished for takes no more, however much memory it lends.
  const gapBytes = gaps.reduce((sum, gap) => sum + sliceBytes(card, gap), 0);
  return `${isHeld}; waiting for peers that lend ${inMebibytes(gapBytes)} for them`;
}

function whatWouldHelp(
  card: ModelCard,
  chain: readonly NodeSlice[],
  idle: readonly SchedulerNode[],
  stages: StagePolicy,
): string {
  if (stages !== 'auto' && chain.length + idle.length < stages) {
    return `waiting for ${countOf(stages - chain.length - idle.length, 'more peer')}`;
  }
  const wholeBytes = sliceBytes(card, { layerStart: 0, layerEnd: card.layerCount });
  const nodes = [...chain.map((slice) => slice.node), ...idle];
  const lentBytes = nodes.reduce((sum, node) => sum + node.capability.memoryBytes, 0);
  if (nodes.length === 0) return `waiting for peers that lend ${inMebibytes(wholeBytes)}`;
  return (
    `the ${countOf(nodes.length, 'peer')} here ${nodes.length === 1 ? 'lends' : 'lend'} ${inMebibytes(lentBytes)}, ` +
    `the model takes ${inMebibytes(wholeBytes)} and no split fits; waiting for peers that lend more memory`
  );
}

export function countOf(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

function inMebibytes(bytes: number): string {
  return `${Math.ceil(bytes / BYTES_PER_MIB)} MiB`;
}
