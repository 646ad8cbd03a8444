import type { PeerId } from '../src/protocol/ids.ts';
import { MOVE_REST_MS, REBALANCE_INTERVAL_MS } from './limits.ts';
import { sameSlice, targetOf } from './peers.ts';
import type { Peers } from './peers.ts';
import type { Assignment, Placement } from './scheduler/types.ts';

/**
 * Holds back moves that are made for no need but for a better placement. They cost more than they look: a peer serves
 * nothing while it loads, and what was measured before says little about the mesh after.
 */
export class Rebalancing {
  readonly #peers: Peers;
  /** When each peer was last moved for a better placement. */
  readonly #movedMs = new Map<PeerId, number>();
  #askedMs: number;

  constructor(peers: Peers, nowMs: number) {
    this.#peers = peers;
    this.#askedMs = nowMs;
  }

  /** Whether it is time to ask, which counts as asked. Not before the last moves are made and loaded. */
  takeTurn(nowMs: number): boolean {
    if (nowMs - this.#askedMs < REBALANCE_INTERVAL_MS || this.#isMoving(nowMs)) return false;
    this.#askedMs = nowMs;
    return true;
  }

  /**
   * The placement without moves of peers that are loading, or were moved a short while ago; null when nothing is left of
   * it. The moves that are left count as made.
   * @param isServed whether anybody can be answered; until then who loads may load something else.
   */
  restrain(placement: Placement, nowMs: number, isServed: boolean): Placement | null {
    const assignments = new Map<PeerId, Assignment>();
    const changed: PeerId[] = [];
    const held: PeerId[] = [];
    for (const [peer, standing] of this.#peers.lenders()) {
      const before = targetOf(standing);
      const wanted = placement.assignments.get(peer) ?? null;
      const mayChange =
        standing.kind === 'waiting' ||
        ((standing.kind === 'serving' || (standing.kind === 'loading' && !isServed)) &&
          this.#hasRested(peer, nowMs));
      const after = mayChange ? wanted : before;
      if (after !== null) assignments.set(peer, after);
      if (!isSameTarget(before, after)) changed.push(peer);
      if (!isSameTarget(wanted, after)) held.push(peer);
    }
    for (const peer of changed) this.#movedMs.set(peer, nowMs);
    if (changed.length === 0) return null;
    // What is said of a move that is held back would not be true.
    const why = placement.why.filter((line) => !held.some((peer) => line.includes(peer)));
    return { ...placement, assignments, why };
  }

  /** Of a peer that no longer lends its device. */
  forget(peer: PeerId): void {
    this.#movedMs.delete(peer);
  }

  #hasRested(peer: PeerId, nowMs: number): boolean {
    return nowMs - (this.#movedMs.get(peer) ?? -Infinity) >= MOVE_REST_MS;
  }

  #isMoving(nowMs: number): boolean {
    return this.#peers
      .lenders()
      .some(
        ([peer, standing]) =>
          ('move' in standing && standing.move !== null) ||
          (standing.kind === 'loading' && !this.#hasRested(peer, nowMs)),
      );
  }
}

function isSameTarget(a: Assignment | null, b: Assignment | null): boolean {
  return a === null || b === null ? a === b : sameSlice(a, b);
}
