import { placementScore } from '../../../../signaling/scheduler/predict.ts';
import { place } from '../../../../signaling/scheduler/placement.ts';
import type { Assignment, Network, SchedulerNode } from '../../../../signaling/scheduler/types.ts';
import { CACHE_RESERVE_TOKENS } from '../../../../src/protocol/limits.ts';
import type { PeerId } from '../../../../src/protocol/ids.ts';
import type { ModelCard } from '../../../../src/protocol/signaling.ts';
import { bestScore, scoreOfHeld } from './brute-force.ts';
import type { HeldSlice } from './brute-force.ts';
import { card, neededBytes, node } from './instances.ts';

/** Layers of an instance by its number of peers: as many as trying everything has time for. */
const MOST_LAYERS = [0, 8, 8, 8, 6, 4, 5, 4, 3];

const MOST_NODES = MOST_LAYERS.length - 1;

export interface Instance {
  readonly card: ModelCard;
  readonly nodes: readonly SchedulerNode[];
  readonly network: Network;
}

export interface InstanceQuality {
  /** Score of the placement over the best of all; null where no placement holds the model. */
  readonly ratio: number | null;
  /** Whether the model is whole exactly when it can be, every slice fits, and what is predicted is what trying all finds. */
  readonly isRight: boolean;
}

/** Of so many peers the scheduler tries not everything, or nearly; a mean over all meshes would hide them. */
export const FEWEST_OF_MANY = 6;

/**
 * One to eight peers that are all alike, or different in speed and memory by up to ten times, in one to three regions,
 * with memory for a part of the model or for several copies.
 */
export function randomInstance(random: () => number, fewestNodes = 1): Instance {
  const count = fewestNodes + Math.floor(random() * (MOST_NODES + 1 - fewestNodes));
  const mostLayers = MOST_LAYERS[count] ?? 3;
  const layerCount = Math.max(2, Math.ceil(random() * mostLayers));
  // As large against the speeds as a model of some gigabytes is against laptops.
  const model = card({
    layerCount,
    bytesPerLayer: 1000,
    cacheBytesPerTokenPerLayer: 1000 / CACHE_RESERVE_TOKENS,
    embeddingBytes: Math.floor(random() * 2000),
    headBytes: Math.floor(random() * 2000),
    headMultiplyAdds: Math.floor(random() * 200),
  });
  const spread = random() < 0.3 ? 1 : 10 ** random();
  const regions = 1 + Math.floor(random() * 3);
  const rich = (layerCount * 2000 * (0.5 + 4 * random())) / count;
  const between = () => spread ** (random() * 2 - 1);
  const nodes = Array.from({ length: count }, (_, index) => ({
    ...node(index, {
      memoryBytes: Math.floor(rich * between() + 1000),
      matvecBytesPerSecond: 2e4 * layerCount * between(),
      matmulFlopsPerSecond: 2e5 * layerCount * between(),
    }),
    region: Math.floor(random() * regions),
  }));
  const regionRttSeconds = Array.from({ length: regions }, (_, a) =>
    Array.from({ length: regions }, (__, b) => (a === b ? 0.01 : 0.04 * (a + b))),
  );
  return { card: model, nodes, network: { regionRttSeconds, links: new Map() } };
}

export function qualityOf({ card: model, nodes, network }: Instance): InstanceQuality {
  const { assignments, predicted, missing } = place({
    models: [model],
    nodes,
    current: new Map(),
    stages: 'auto',
    network,
  });
  const claimed = placementScore(
    predicted.get(model.id) ?? { tokensPerSecond: 0, secondsPerToken: Infinity },
  );
  const held = heldSlices(model, nodes, assignments);
  const score = held === null ? null : scoreOfHeld(model, held, network);
  const isWhole = missing.size === 0;
  const isTrue = score !== null && Math.abs(claimed - score) <= score * 1e-9;
  if (!canHold(model, nodes)) return { ratio: null, isRight: !isWhole && isTrue };
  return {
    ratio: (score ?? 0) / bestScore(model, nodes, network, score ?? 0),
    isRight: isWhole && isTrue && score > 0,
  };
}

/** Null when somebody holds more than fits, or nobody knows who holds it. */
export function heldSlices(
  model: ModelCard,
  nodes: readonly SchedulerNode[],
  assignments: ReadonlyMap<PeerId, Assignment>,
): HeldSlice[] | null {
  const held = nodes.flatMap((holder) => {
    const slice = assignments.get(holder.peer);
    return slice === undefined ? [] : [{ ...slice, node: holder }];
  });
  const isTooMuch = held.some((slice) => neededBytes(model, slice) > slice.node.capability.memoryBytes);
  return isTooMuch || held.length !== assignments.size ? null : held;
}

/** Whether some order of some of the nodes holds the layers from here on, by trying all. */
export function canHold(model: ModelCard, nodes: readonly SchedulerNode[], layerStart = 0): boolean {
  if (layerStart === model.layerCount) return true;
  return nodes.some((first) => {
    let layerEnd = layerStart;
    for (let end = layerStart + 1; end <= model.layerCount; end += 1) {
      if (neededBytes(model, { layerStart, layerEnd: end }) <= first.capability.memoryBytes) layerEnd = end;
    }
    const others = nodes.filter((other) => other !== first);
    return layerEnd > layerStart && canHold(model, others, layerEnd);
  });
}

/** The same numbers for the same seed. Mulberry32. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
