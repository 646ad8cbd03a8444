import type { PeerId } from '../../../../src/protocol/ids.ts';
import type { Capability, ModelCard } from '../../../../src/protocol/signaling.ts';
import type { LayerRange } from '../../../../signaling/scheduler/types.ts';

/** Share of a node's memory that its weights may take, and of its key-value cache: the defaults of a Parallax worker. */
export const WEIGHTS_SHARE = 0.65;
export const CACHE_SHARE = 0.25;

/** Of one request, as its operator would set it for these workloads; Parallax's own default, 32,768, allows far fewer requests. */
const MAX_SEQUENCE_TOKENS = 2048;
/** Requests a node takes at least: the default of its batch size. */
const MIN_REQUESTS = 8;

/** States of the dynamic program after which it counts as endless; Parallax itself has no such limit, and no answer. */
const MAX_STATES = 20_000;

export interface ParallaxNode {
  readonly peer: PeerId;
  readonly capability: Capability;
}

export type NodeSlices = ReadonlyMap<PeerId, LayerRange>;

/** Layers whose weights fit, beside the embedding or the head where the node has to hold them. */
export function layerCapacity(
  card: ModelCard,
  { capability }: ParallaxNode,
  ends: { readonly embedding?: boolean; readonly head?: boolean } = {},
): number {
  const endBytes = (ends.embedding ? card.embeddingBytes : 0) + (ends.head ? card.headBytes : 0);
  return Math.floor((capability.memoryBytes * WEIGHTS_SHARE - endBytes) / card.bytesPerLayer);
}

/** Whether a node has as many requests as its cache holds at their longest; Parallax gives it no more then. */
export function isFull(
  card: ModelCard,
  node: ParallaxNode & { readonly slice: LayerRange | null; readonly requests: number },
): boolean {
  return node.requests >= maxRequests(card, node, MAX_SEQUENCE_TOKENS);
}

/** Requests that a node takes at once. @param sequenceTokens of cache that are set aside for each. */
export function maxRequests(
  card: ModelCard,
  node: ParallaxNode & { readonly slice: LayerRange | null },
  sequenceTokens: number,
): number {
  const layers = node.slice === null ? 1 : node.slice.layerEnd - node.slice.layerStart;
  const tokens = (node.capability.memoryBytes * CACHE_SHARE) / (layers * card.cacheBytesPerTokenPerLayer);
  return Math.max(MIN_REQUESTS, Math.floor(tokens / sequenceTokens));
}

/** The nodes with the most layers first, as Parallax sorts them for its search. */
function byCapacity(card: ModelCard, nodes: readonly ParallaxNode[]): ParallaxNode[] {
  return [...nodes].sort((a, b) => layerCapacity(card, b) - layerCapacity(card, a));
}

/**
 * Splits the model over one pipeline in proportion to arithmetic rate, as far as memory allows: find the level λ at which
 * Σ min(capacity, λ · rate) is the number of layers, round down, and give what is left to the largest remainders.
 * @returns null when the pipeline does not hold the model.
 */
export function waterFill(card: ModelCard, pipeline: readonly ParallaxNode[]): NodeSlices | null {
  const nodes = byCapacity(card, pipeline);
  const capacities = nodes.map((node, index) =>
    layerCapacity(card, node, { embedding: index === 0, head: index === nodes.length - 1 }),
  );
  const rates = nodes.map((node) => node.capability.matmulFlopsPerSecond);
  if (capacities.some((capacity) => capacity <= 0)) return null;
  if (sum(capacities) < card.layerCount) return null;

  const sharesAt = (level: number) =>
    capacities.map((capacity, index) => Math.min(capacity, level * (rates[index] ?? 0)));
  let low = 0;
  let high = Math.max(...capacities.map((capacity, index) => capacity / (rates[index] ?? 1)));
  for (let round = 0; round < 60; round += 1) {
    const middle = (low + high) / 2;
    if (sum(sharesAt(middle)) >= card.layerCount) high = middle;
    else low = middle;
  }
  const shares = sharesAt(high);
  const layers = shares.map(Math.floor);
  const byRemainder = shares
    .map((share, index) => ({ index, remainder: share - Math.floor(share) }))
    .sort((a, b) => b.remainder - a.remainder);
  for (let rest = card.layerCount - sum(layers); rest > 0;) {
    for (const { index } of byRemainder) {
      if (rest > 0 && (layers[index] ?? 0) < (capacities[index] ?? 0)) {
        layers[index] = (layers[index] ?? 0) + 1;
        rest -= 1;
      }
    }
  }

  const slices = new Map<PeerId, LayerRange>();
  let layerStart = 0;
  for (const [index, { peer }] of nodes.entries()) {
    const layerEnd = layerStart + (layers[index] ?? 0);
    if (layerEnd > layerStart) slices.set(peer, { layerStart, layerEnd });
    layerStart = layerEnd;
  }
  return slices;
}

/** What a number of pipelines is worth. */
export type PipelineScore = (pipelines: number, stages: number) => number;

/** What is in the repository: k / (s / k). */
export const SHIPPED_SCORE: PipelineScore = (pipelines, stages) => pipelines ** 2 / stages;

/**
 * Disjoint pipelines by Parallax's dynamic program: for each number k of pipelines the fewest stages s*(k) that make
 * them, over nodes in order of capacity and the layers that open pipelines still lack; then the k of the best score.
 * Where the search would be endless, its greedy allocator.
 */
export function allocatePipelines(
  card: ModelCard,
  standby: readonly ParallaxNode[],
  score: PipelineScore,
): readonly (readonly ParallaxNode[])[] {
  const nodes = byCapacity(card, standby).filter((node) => layerCapacity(card, node) > 0);
  const total = sum(nodes.map((node) => layerCapacity(card, node)));
  const most = Math.min(nodes.length, Math.floor(total / card.layerCount));
  let best: { readonly value: number; readonly pipelines: readonly ParallaxNode[][] } | null = null;
  for (let count = 1; count <= most; count += 1) {
    const search = new PipelineSearch(card, nodes, count);
    const pipelines = search.run();
    if (search.isEndless) return allocateGreedily(card, nodes);
    if (pipelines === null) continue;
    const value = score(count, sum(pipelines.map(({ length }) => length)));
    if (best === null || value > best.value) best = { value, pipelines };
  }
  return best?.pipelines ?? [];
}

interface Choice {
  /** Infinity when the target cannot be reached from here. */
  readonly stages: number;
  /** Index of the open pipeline the node joins, or how it is used otherwise. */
  readonly action: 'skip' | 'start' | number | null;
}

const NOTHING: Choice = { stages: Infinity, action: null };

/** The fewest stages that make a given number of pipelines. */
class PipelineSearch {
  readonly #card: ModelCard;
  readonly #nodes: readonly ParallaxNode[];
  readonly #target: number;
  readonly #capacityFrom: readonly number[];
  readonly #known = new Map<string, Choice>();

  constructor(card: ModelCard, nodes: readonly ParallaxNode[], target: number) {
    this.#card = card;
    this.#nodes = nodes;
    this.#target = target;
    const capacityFrom = new Array<number>(nodes.length + 1).fill(0);
    for (let index = nodes.length - 1; index >= 0; index -= 1) {
      const node = nodes[index];
      capacityFrom[index] = (capacityFrom[index + 1] ?? 0) + (node ? layerCapacity(card, node) : 0);
    }
    this.#capacityFrom = capacityFrom;
  }

  get isEndless(): boolean {
    return this.#known.size >= MAX_STATES;
  }

  run(): ParallaxNode[][] | null {
    if (this.#best(0, [], 0).stages === Infinity || this.isEndless) return null;
    return this.#follow();
  }

  /** @param open layers each open pipeline still lacks, ascending. */
  #best(index: number, open: readonly number[], finished: number): Choice {
    if (finished === this.#target && open.length === 0) return { stages: 0, action: null };
    const node = this.#nodes[index];
    const toStart = this.#target - finished - open.length;
    const lacking = sum(open) + Math.max(0, toStart) * this.#card.layerCount;
    if (node === undefined || toStart < 0 || (this.#capacityFrom[index] ?? 0) < lacking) return NOTHING;
    const key = `${index}|${open.join()}|${finished}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    if (this.isEndless) return NOTHING;

    let best: Choice = { stages: this.#best(index + 1, open, finished).stages, action: 'skip' };
    const actions: (number | 'start')[] = [...open.keys(), ...(toStart > 0 ? (['start'] as const) : [])];
    for (const action of actions) {
      const next = this.#apply(node, action, open, finished);
      const stages = 1 + this.#best(index + 1, next.open, next.finished).stages;
      if (stages < best.stages) best = { stages, action };
    }
    this.#known.set(key, best);
    return best;
  }

  /** The open pipelines after a node joined one of them, or started its own. */
  #apply(
    node: ParallaxNode,
    action: number | 'start',
    open: readonly number[],
    finished: number,
  ): { readonly open: number[]; readonly finished: number } {
    const others = action === 'start' ? open : open.filter((_, index) => index !== action);
    const lacking = this.#lackingAfter(node, action === 'start' ? null : (open[action] ?? 0));
    if (lacking <= 0) return { open: [...others], finished: finished + 1 };
    return { open: [...others, lacking].sort((a, b) => a - b), finished };
  }

  #lackingAfter(node: ParallaxNode, lacking: number | null): number {
    if (lacking === null) return this.#card.layerCount - layerCapacity(this.#card, node, { embedding: true });
    const after = lacking - layerCapacity(this.#card, node);
    // A node that would close a pipeline also has to hold the head.
    return after > 0 ? after : lacking - layerCapacity(this.#card, node, { head: true });
  }

  #follow(): ParallaxNode[][] {
    const closed: ParallaxNode[][] = [];
    let open: { lacking: number; nodes: ParallaxNode[] }[] = [];
    for (const [index, node] of this.#nodes.entries()) {
      if (closed.length === this.#target && open.length === 0) break;
      const { action } = this.#best(
        index,
        open.map(({ lacking }) => lacking),
        closed.length,
      );
      if (action === null || action === 'skip') continue;
      const joined = action === 'start' ? { lacking: null, nodes: [] } : open[action];
      if (joined === undefined) continue;
      const lacking = this.#lackingAfter(node, joined.lacking);
      const nodes = [...joined.nodes, node];
      open = open.filter((pipeline) => pipeline !== joined);
      if (lacking <= 0) closed.push(nodes);
      else open = [...open, { lacking, nodes }].sort((a, b) => a.lacking - b.lacking);
    }
    return closed;
  }
}

/** Parallax's greedy allocator: the largest nodes first, the last of a pipeline the smallest that completes it. */
function allocateGreedily(card: ModelCard, nodes: readonly ParallaxNode[]): ParallaxNode[][] {
  let free = byCapacity(card, nodes);
  const pipelines: ParallaxNode[][] = [];
  while (sum(free.map((node) => layerCapacity(card, node))) >= card.layerCount) {
    const pipeline: ParallaxNode[] = [];
    let lacking = card.layerCount;
    while (lacking > 0 && free.length > 0) {
      const closing = free.findLast((node) => layerCapacity(card, node, { head: true }) >= lacking);
      const node = closing ?? free[0];
      if (node === undefined) break;
      free = free.filter((other) => other !== node);
      pipeline.push(node);
      lacking -= layerCapacity(card, node, { embedding: pipeline.length === 1, head: node === closing });
    }
    if (lacking > 0) break;
    pipelines.push(pipeline);
  }
  return pipelines;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
