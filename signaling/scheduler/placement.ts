import type { ModelId, PeerId } from '../../src/protocol/ids.ts';
import { MAX_ROUTE_HOPS } from '../../src/protocol/limits.ts';
import type { ModelCard } from '../../src/protocol/signaling.ts';
import { bestChain } from './chain.ts';
import { completePipeline } from './complete.ts';
import { sliceBytes } from './cost.ts';
import { describeMissing, layersInWords } from './missing.ts';
import { replicate } from './replicas.ts';
import type { Assignment, Placement, PlacementInput, SchedulerNode, StagePolicy } from './types.ts';
import type { NodeSlice } from './water-fill.ts';

/**
 * Decides who holds which layers. Peers with a valid slice keep it, since moving weights is what costs; peers without
 * one first make models whole, in the operator's order, and then copy the slowest stage. When that leaves a model with
 * holes, as few holders as possible move, second copies of other models included.
 */
export function place(input: PlacementInput): Placement {
  const plan = new Plan(input);
  // Copies made in one round can free a peer that makes another model whole in the next; each round but the last
  // makes one more model whole.
  for (let wholeBefore = -1; plan.wholeModels() > wholeBefore;) {
    wholeBefore = plan.wholeModels();
    for (const card of input.models) plan.complete(card, plan.idle());
    for (const card of input.models) plan.complete(card, [...plan.idle(), ...plan.spareOfOthers(card)]);
    plan.replicate();
  }
  return plan.result();
}

class Plan {
  readonly #input: PlacementInput;
  readonly #held = new Map<SchedulerNode, Assignment>();

  constructor(input: PlacementInput) {
    this.#input = input;
    for (const node of input.nodes) {
      const assignment = input.current.get(node.peer);
      if (assignment !== undefined && this.#isValid(node, assignment)) this.#held.set(node, assignment);
    }
  }

  idle(): SchedulerNode[] {
    return this.#input.nodes.filter((node) => !this.#held.has(node));
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
        return held.filter((slice) => !needed.has(slice)).map((slice) => slice.node);
      });
  }

  /** Leaves everything as it is when the model is whole already, or cannot be made so. */
  complete(card: ModelCard, free: readonly SchedulerNode[]): void {
    const added = completePipeline(card, this.#slicesOf(card), free, this.#stagesOf(card));
    for (const slice of added ?? []) this.#hold(card, slice);
  }

  /** In rounds, because small nodes that share a stage make smaller stages, which suit others. */
  replicate(): void {
    for (let idleBefore = Infinity; this.idle().length < idleBefore;) {
      idleBefore = this.idle().length;
      const covered = this.#input.models
        .filter((card) => this.#isCovered(card))
        .map((card) => ({ card, slices: this.#slicesOf(card) }));
      for (const replica of replicate(covered, this.idle())) this.#hold(replica.card, replica);
    }
  }

  result(): Placement {
    const assignments = new Map<PeerId, Assignment>();
    for (const node of this.#input.nodes) {
      const assignment = this.#held.get(node);
      if (assignment !== undefined) assignments.set(node.peer, assignment);
    }
    const missing = new Map<ModelId, string>();
    for (const card of this.#input.models.filter((model) => !this.#isCovered(model))) {
      missing.set(card.id, describeMissing(card, this.#slicesOf(card), this.idle(), this.#stagesOf(card)));
    }
    return { assignments, missing, predicted: new Map(), why: [...this.#changes(), ...this.#waits(missing)] };
  }

  #isValid(node: SchedulerNode, assignment: Assignment): boolean {
    const card = this.#input.models.find((model) => model.id === assignment.model);
    return (
      card !== undefined &&
      assignment.layerEnd <= card.layerCount &&
      sliceBytes(card, assignment) <= node.capability.memoryBytes
    );
  }

  /** A copy cannot have more stages than layers, nor more than a route may have hops. */
  #stagesOf(card: ModelCard): StagePolicy {
    const { stages } = this.#input;
    return stages === 'auto' ? 'auto' : Math.min(stages, card.layerCount, MAX_ROUTE_HOPS);
  }

  /** In order of arrival, not of decision: the outcome must not depend on who was decided first. */
  #slicesOf(card: ModelCard): NodeSlice[] {
    return this.#input.nodes.flatMap((node) => {
      const assignment = this.#held.get(node);
      if (assignment?.model !== card.id) return [];
      const { layerStart, layerEnd } = assignment;
      return [{ node, layerStart, layerEnd }];
    });
  }

  #isCovered(card: ModelCard): boolean {
    return bestChain(card.layerCount, this.#slicesOf(card)).gaps.length === 0;
  }

  #hold(card: ModelCard, { node, layerStart, layerEnd }: NodeSlice): void {
    this.#held.set(node, { model: card.id, layerStart, layerEnd });
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
      return before === undefined
        ? [`${node.peer} takes ${inWords(after)}`]
        : [`${node.peer} moves from ${inWords(before)} to ${inWords(after)}`];
    });
  }

  #waits(missing: ReadonlyMap<ModelId, string>): string[] {
    return [...missing].map(([model, words]) => `${model} is not whole: ${words}`);
  }
}

export function sameAssignment(a: Assignment, b: Assignment): boolean {
  return a.model === b.model && a.layerStart === b.layerStart && a.layerEnd === b.layerEnd;
}

function inWords(assignment: Assignment): string {
  return `${layersInWords(assignment)} of ${assignment.model}`;
}
