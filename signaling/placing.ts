import type { ModelId, PeerId } from '../src/protocol/ids.ts';
import type { ModelCard } from '../src/protocol/signaling.ts';
import { isCovered } from './coverage.ts';
import type { Measurements } from './measurements.ts';
import type { Moves } from './moves.ts';
import { sameSlice, targetOf, withCached } from './peers.ts';
import type { Peers } from './peers.ts';
import type { Rebalancing } from './rebalancing.ts';
import type {
  Assignment,
  Placement,
  PlacementInput,
  Scheduler,
  SchedulerNode,
  StagePolicy,
} from './scheduler/types.ts';
import type { Settling } from './settling.ts';

export interface PlacingDeps {
  readonly models: readonly ModelCard[];
  readonly stages: StagePolicy;
  readonly scheduler: Scheduler;
  readonly peers: Peers;
  readonly measurements: Measurements;
  readonly moves: Moves;
  readonly rebalancing: Rebalancing;
  readonly settling: Settling;
  readonly log: (line: string) => void;
}

/** Asks the scheduler who is to hold what, when that may have changed, and has it carried out. */
export class Placing {
  readonly #deps: PlacingDeps;
  #missing: ReadonlyMap<ModelId, string> = new Map();
  /** Whether something changed since the last placement. */
  #isDue = false;

  constructor(deps: PlacingDeps) {
    this.#deps = deps;
  }

  /** What nobody holds, per model, as half a sentence; nothing is known to be missing while those who come back settle. */
  get missing(): ReadonlyMap<ModelId, string> {
    return this.#missing;
  }

  /** Somebody came, left, or lends something else. */
  place(nowMs: number): void {
    this.#isDue = true;
    if (this.#deps.settling.isOpen(nowMs)) {
      this.#missing = new Map();
      return;
    }
    this.#isDue = false;
    const placement = this.#deps.scheduler.place(this.#input(nowMs));
    if (this.#deps.settling.holdsMoves(nowMs) && this.#movesHolders(placement)) {
      this.#isDue = true;
      this.#missing = placement.missing;
    } else this.#adopt(placement, nowMs);
  }

  /** To be called as time passes: places what had to wait, and sometimes looks for a better placement. */
  advance(nowMs: number): void {
    if (this.#deps.settling.holdsMoves(nowMs)) return;
    if (this.#isDue) this.place(nowMs);
    else this.#rebalance(nowMs);
  }

  #rebalance(nowMs: number): void {
    const { models, peers, measurements, rebalancing, scheduler } = this.#deps;
    if (!rebalancing.takeTurn(nowMs)) return;
    const busyShares = new Map(
      peers
        .lenders()
        .filter(([, { kind }]) => kind === 'serving')
        .map(([peer]) => [peer, measurements.busyShare(peer, nowMs)] as const),
    );
    const isServed = models.some(({ id, layerCount }) => isCovered(layerCount, peers.serving(id)));
    const placement = scheduler.rebalance({ ...this.#input(nowMs), busyShares, isServed });
    const restrained = placement === null ? null : rebalancing.restrain(placement, nowMs, isServed);
    if (restrained !== null) this.#adopt(restrained, nowMs);
  }

  /** Whether somebody who answers is to hold something else. */
  #movesHolders({ assignments }: Placement): boolean {
    return this.#deps.peers.lenders().some(([peer, standing]) => {
      if (standing.kind !== 'serving' && standing.kind !== 'draining') return false;
      const to = assignments.get(peer) ?? null;
      const before = targetOf(standing);
      return to === null || before === null ? to !== before : !sameSlice(to, before);
    });
  }

  #adopt({ assignments, missing, why }: Placement, nowMs: number): void {
    this.#missing = missing;
    this.#deps.moves.aimFor(assignments, nowMs);
    for (const line of why) this.#deps.log(line);
  }

  #input(nowMs: number): PlacementInput {
    const { models, stages, peers, measurements: measured } = this.#deps;
    // First, because regions are indices into it.
    const network = measured.network(nowMs);
    const wishes = new Map<PeerId, Assignment>();
    const nodes = peers.lenders().map(([peer, standing]): SchedulerNode => {
      if (standing.lent.wish !== undefined) wishes.set(peer, standing.lent.wish);
      const holds = standing.kind === 'serving' || standing.kind === 'draining';
      const { cached } = holds ? withCached(standing.lent, standing.slice) : standing.lent;
      return { peer, capability: measured.capability(peer), region: measured.region(peer), cached };
    });
    const input = { models, nodes, current: peers.assignments(), stages, network };
    return wishes.size > 0 ? { ...input, wishes } : input;
  }
}
