import type { ModelId, PeerId } from '../../src/protocol/ids.ts';
import { MAX_ROUTE_HOPS } from '../../src/protocol/limits.ts';
import type { ModelCard } from '../../src/protocol/signaling.ts';
import { bestChain } from './chain.ts';
import { completePipeline } from './complete.ts';
import { fits } from './cost.ts';
import { freshPipelines, pipelineSlices } from './fresh.ts';
import { countOf, describeMissing, layersInWords } from './missing.ts';
import { predict } from './predict.ts';
import { isWhole, Reach } from './reach.ts';
import { replicate } from './replicas.ts';
import { sameRange } from './slices.ts';
import type { NodeSlice } from './slices.ts';
import type {
  Assignment,
  LayerRange,
  Placement,
  Prediction,
  PlacementInput,
  SchedulerNode,
  StagePolicy,
} from './types.ts';

/**
 * Decides who holds which layers. A model that nobody holds gets the best pipelines of all nodes. Else peers with a valid
 * slice keep it, since moving weights is what costs; peers without one first make models whole, in the operator's order,
 * and then copy what is slowest. When that leaves a model with holes, as few holders as possible move, second copies of
 * other models included. Peers with a wish hold what they wish for and nothing else; the others are placed around them.
 */
export function place(input: PlacementInput): Placement {
  const plan = new Plan(input);
  const [only] = input.models;
  if (input.models.length === 1 && only !== undefined && plan.isUnheld(only)) plan.begin(only);
  // Copies made in one round can free a peer that makes another model whole in the next.
  let whole = plan.wholeModels();
  let before: number;
  do {
    before = whole;
    for (const card of input.models) plan.complete(card, plan.idle());
    if (input.models.length > 1) {
      for (const card of input.models) plan.complete(card, [...plan.idle(), ...plan.spareOfOthers(card)]);
    }
    for (const card of input.models) plan.joinUp(card);
    plan.replicate();
    whole = plan.wholeModels();
  } while (whole > before && whole < input.models.length);
  return plan.result();
}

class Plan {
  readonly #input: PlacementInput;
  /** Those without a wish. */
  readonly #free: readonly SchedulerNode[];
  readonly #held = new Map<SchedulerNode, Assignment>();
  /** Why somebody holds something new. */
  readonly #reasons = new Map<SchedulerNode, string>();

  constructor(input: PlacementInput) {
    this.#input = input;
    const { nodes, current, wishes } = input;
    this.#free = wishes === undefined ? nodes : nodes.filter(({ peer }) => !wishes.has(peer));
    for (const node of nodes) {
      const assignment = wishes?.get(node.peer) ?? current.get(node.peer);
      if (assignment !== undefined && this.#isValid(node, assignment)) this.#held.set(node, assignment);
    }
  }

  idle(): SchedulerNode[] {
    return this.#free.filter((node) => !this.#held.has(node));
  }

  isUnheld(card: ModelCard): boolean {
    return this.#slicesOf(card).length === 0;
  }

  wholeModels(): number {
    return this.#input.models.filter((card) => this.#isCovered(card)).length;
  }

  /** Holders of other models that those models can lose and stay whole. */
  spareOfOthers(card: ModelCard): SchedulerNode[] {
    return this.#input.models
      .filter((other) => other !== card)
      .flatMap((other) => {
        const held = this.#slicesOf(other);
        const needed = new Set(bestChain(other.layerCount, held).slices);
        return held.filter((slice) => !needed.has(slice) && !this.#hasWish(slice)).map((slice) => slice.node);
      });
  }

  /** Pipelines for a model that nobody holds, of everybody who has nothing. */
  begin(card: ModelCard): void {
    const pipelines = freshPipelines(card, this.idle(), this.#input.network, this.#stagesOf(card));
    for (const pipeline of pipelines) {
      const stages = countOf(pipeline.groups.length, 'stage');
      const reason = `in a pipeline of ${stages}, ${rateInWords(pipeline.tokensPerSecond)}`;
      for (const slice of pipelineSlices(pipeline)) this.#hold(card, slice, reason);
    }
  }

  /** Leaves everything as it is when the model is whole already, or cannot be made so. */
  complete(card: ModelCard, free: readonly SchedulerNode[]): void {
    const held = this.#slicesOf(card);
    const stages = this.#stagesOf(card);
    const added =
      completePipeline(card, held, free, stages, (slice) => !this.#hasWish(slice)) ??
      this.#completeWithoutWishes(card, held, free);
    for (const slice of added ?? []) this.#hold(card, slice, 'which the model lacked');
  }

  /** What somebody wishes for may be such that the others could not add the rest of it. */
  #completeWithoutWishes(card: ModelCard, held: readonly NodeSlice[], free: readonly SchedulerNode[]) {
    if (this.#input.wishes === undefined) return null;
    const others = held.filter((slice) => !this.#hasWish(slice));
    return completePipeline(card, others, free, this.#stagesOf(card));
  }

  /** Gives idle nodes the layers beside those that somebody wished for, where no route would go over these otherwise. */
  joinUp(card: ModelCard): void {
    if (this.#input.wishes === undefined) return;
    for (const wished of this.#slicesOf(card).filter((slice) => this.#hasWish(slice))) {
      const held = this.#slicesOf(card);
      if (new Reach(card.layerCount, held).isUseful(wished)) continue;
      const beside = held.filter((slice) => slice.node === wished.node || !overlap(slice, wished));
      const added = completePipeline(card, beside, this.idle(), this.#stagesOf(card), () => false);
      for (const slice of added ?? []) this.#hold(card, slice, 'beside what others wished for');
    }
  }

  replicate(): void {
    const covered = this.#input.models
      .filter((card) => this.#isCovered(card))
      .map((card) => ({ card, slices: this.#slicesOf(card) }));
    for (const replica of replicate(covered, this.idle(), this.#input.nodes, this.#input.stages)) {
      this.#hold(replica.card, replica, `the slowest it can hold, ${rateInWords(replica.rateBefore)}`);
    }
  }

  result(): Placement {
    const assignments = new Map<PeerId, Assignment>();
    for (const node of this.#input.nodes) {
      const assignment = this.#held.get(node);
      if (assignment !== undefined) assignments.set(node.peer, assignment);
    }
    const missing = new Map<ModelId, string>();
    const predicted = new Map<ModelId, Prediction>();
    for (const card of this.#input.models) {
      const slices = this.#slicesOf(card);
      predicted.set(card.id, predict(card, slices, this.#input.network));
      if (this.#isCovered(card)) continue;
      const hasWish = (slice: NodeSlice) => this.#hasWish(slice);
      missing.set(card.id, describeMissing(card, slices, this.idle(), this.#stagesOf(card), hasWish));
    }
    return { assignments, missing, predicted, why: [...this.#changes(), ...this.#waits(missing)] };
  }

  #hasWish({ node }: NodeSlice): boolean {
    return this.#input.wishes?.has(node.peer) === true;
  }

  #isValid(node: SchedulerNode, assignment: Assignment): boolean {
    const card = this.#input.models.find((model) => model.id === assignment.model);
    return (
      card !== undefined &&
      assignment.layerEnd <= card.layerCount &&
      fits(card, node.capability.memoryBytes, assignment)
    );
  }

  /** A copy cannot have more stages than layers, nor more than a route may have hops. */
  #stagesOf(card: ModelCard): StagePolicy {
    const { stages } = this.#input;
    return stages === 'auto' ? 'auto' : Math.min(stages, card.layerCount, MAX_ROUTE_HOPS);
  }

  /** In order of arrival, not of decision: the outcome must not depend on who was decided first. */
  #slicesOf(card: ModelCard): NodeSlice[] {
    const slices: NodeSlice[] = [];
    for (const node of this.#input.nodes) {
      const assignment = this.#held.get(node);
      if (assignment?.model !== card.id) continue;
      slices.push({ node, layerStart: assignment.layerStart, layerEnd: assignment.layerEnd });
    }
    return slices;
  }

  #isCovered(card: ModelCard): boolean {
    return isWhole(card.layerCount, this.#slicesOf(card));
  }

  #hold(card: ModelCard, { node, layerStart, layerEnd }: NodeSlice, reason: string): void {
    this.#held.set(node, { model: card.id, layerStart, layerEnd });
    this.#reasons.set(node, reason);
  }

  #changes(): string[] {
    return this.#input.nodes.flatMap((node) => {
      const before = this.#input.current.get(node.peer);
      const after = this.#held.get(node);
      if (after === undefined) {
        return before === undefined
          ? []
          : [`${node.peer} gives up ${inWords(before)}, which no longer fits it`];
      }
      if (before !== undefined && sameAssignment(before, after)) return [];
      const reason = this.#reasons.get(node) ?? 'as its owner wishes';
      return before === undefined
        ? [`${node.peer} takes ${inWords(after)}: ${reason}`]
        : [`${node.peer} moves from ${inWords(before)} to ${inWords(after)}: ${reason}`];
    });
  }

  #waits(missing: ReadonlyMap<ModelId, string>): string[] {
    return [...missing].map(([model, words]) => `${model} is not whole: ${words}`);
  }
}

function overlap(a: LayerRange, b: LayerRange): boolean {
  return a.layerStart < b.layerEnd && b.layerStart < a.layerEnd;
}

export function sameAssignment(a: Assignment, b: Assignment): boolean {
  return a.model === b.model && sameRange(a, b);
}

export function inWords(assignment: Assignment): string {
  return `${layersInWords(assignment)} of ${assignment.model}`;
}

export function rateInWords(tokensPerSecond: number): string {
  return `${tokensPerSecond < 10 ? tokensPerSecond.toPrecision(2) : Math.round(tokensPerSecond)} tokens/s`;
}
