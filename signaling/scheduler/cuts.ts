import type { ModelCard } from '../../src/protocol/signaling.ts';
import type { SliceEnds } from '../../src/protocol/slice-bytes.ts';
import { layersThatFit, saturatedRate } from './cost.ts';
import type { LayerRange, SchedulerNode } from './types.ts';

/** Nodes that hold the same layers. */
export type Group = readonly SchedulerNode[];

/** How a range is cut, and the answer tokens per second of the slowest piece. */
export interface Cuts {
  /** Layers of every group, in the order of the groups. */
  readonly layers: readonly number[];
  readonly rate: number;
}

const INSIDE: SliceEnds = { embedding: false, head: false };
const FIRST: SliceEnds = { embedding: true, head: false };
const LAST: SliceEnds = { embedding: false, head: true };
const WHOLE: SliceEnds = { embedding: true, head: true };

/** What the group at this place of a range holds beside its layers. */
export function endsAt(card: ModelCard, range: LayerRange, index: number, count: number): SliceEnds {
  const hasHead = index === count - 1 && range.layerEnd === card.layerCount;
  if (index === 0 && range.layerStart === 0) return hasHead ? WHOLE : FIRST;
  return hasHead ? LAST : INSIDE;
}

/**
 * Cuts a range of layers between groups in their order, at least one layer each, so that the slowest group is as fast
 * as possible. Begins with shares by speed and moves layers from the slowest to whoever stays faster than it; since
 * rates only fall with layers, what cannot be bettered so cannot be bettered at all.
 * @returns null when the groups are too many for the layers or their memory does not hold the range.
 */
export function cutRange(card: ModelCard, range: LayerRange, groups: readonly Group[]): Cuts | null {
  const count = groups.length;
  const layerCount = range.layerEnd - range.layerStart;
  if (count === 0 || count > layerCount) return null;

  const shares: Share[] = [];
  let capacity = 0;
  for (const group of groups) {
    const share = new Share(card, group, endsAt(card, range, shares.length, count));
    if (share.capacity < 1) return null;
    capacity += share.capacity;
    shares.push(share);
  }
  if (capacity < layerCount) return null;

  const [only] = shares;
  if (count === 1 && only !== undefined) {
    only.setLayers(layerCount);
    return { layers: [layerCount], rate: only.rate };
  }

  const evenly = Math.max(1, Math.round(layerCount / count));
  let speeds = 0;
  for (const share of shares) {
    share.setLayers(Math.min(evenly, share.capacity));
    speeds += share.rate * share.layers;
  }
  let placed = 0;
  for (const share of shares) {
    const fair = Math.floor((layerCount * share.rate * share.layers) / speeds);
    share.setLayers(Math.min(share.capacity, Math.max(1, fair)));
    placed += share.layers;
  }
  for (; placed < layerCount; placed += 1) quickestWithOneMore(shares)?.add(1);
  for (; placed > layerCount; placed -= 1) slowest(shares, 2)?.add(-1);
  for (;;) {
    const from = slowest(shares, 1);
    const to = quickestWithOneMore(shares, from);
    if (from === undefined || to === undefined || from.layers === 1 || to.rateWithOneMore() <= from.rate) {
      return { layers: shares.map((share) => share.layers), rate: from?.rate ?? 0 };
    }
    from.add(-1);
    to.add(1);
  }
}

/** A group and the layers it has so far. */
class Share {
  readonly capacity: number;
  layers = 0;
  rate = 0;
  #rateWithOneMore: number | null = null;
  readonly #card: ModelCard;
  readonly #group: Group;
  readonly #ends: SliceEnds;

  constructor(card: ModelCard, group: Group, ends: SliceEnds) {
    this.#card = card;
    this.#group = group;
    this.#ends = ends;
    let capacity = Infinity;
    for (const { capability } of group) {
      capacity = Math.min(capacity, layersThatFit(card, capability.memoryBytes, ends));
    }
    this.capacity = capacity;
  }

  setLayers(layers: number): void {
    if (layers === this.layers) return;
    this.layers = layers;
    this.rate = this.#rateOf(layers);
    this.#rateWithOneMore = null;
  }

  add(layers: 1 | -1): void {
    this.setLayers(this.layers + layers);
  }

  /** 0 where no more fits. */
  rateWithOneMore(): number {
    this.#rateWithOneMore ??= this.layers < this.capacity ? this.#rateOf(this.layers + 1) : 0;
    return this.#rateWithOneMore;
  }

  #rateOf(layers: number): number {
    let sum = 0;
    for (const { capability } of this.#group) {
      sum += saturatedRate(this.#card, capability, layers, this.#ends);
    }
    return sum;
  }
}

function slowest(shares: readonly Share[], leastLayers: number): Share | undefined {
  let found: Share | undefined;
  for (const share of shares) {
    if (share.layers >= leastLayers && (found === undefined || share.rate < found.rate)) found = share;
  }
  return found;
}

function quickestWithOneMore(shares: readonly Share[], except?: Share): Share | undefined {
  let found: Share | undefined;
  for (const share of shares) {
    if (share === except || share.layers === share.capacity) continue;
    if (found === undefined || share.rateWithOneMore() > found.rateWithOneMore()) found = share;
  }
  return found;
}
