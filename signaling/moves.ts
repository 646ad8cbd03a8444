import type { ModelId, PeerId } from '../src/protocol/ids.ts';
import type { ModelCard } from '../src/protocol/signaling.ts';
import { isCovered } from './coverage.ts';
import { DRAIN_LIMIT_MS, MOVE_PATIENCE_MS, URGENT_DRAIN_LIMIT_MS } from './limits.ts';
import { loadingLimitMs } from './loading-limit.ts';
import { sameSlice, targetOf, withAbandoned, withCached } from './peers.ts';
import type { LenderStanding, Lent, Move, Peers } from './peers.ts';
import { Reach } from './scheduler/reach.ts';
import type { Assignment } from './scheduler/types.ts';

export interface MovesDeps {
  readonly models: readonly ModelCard[];
  readonly peers: Peers;
  /** Requests whose route passes the peer, and nobody who is gone. */
  readonly answerable: (peer: PeerId) => number;
  /** Tells a peer to load a slice, or with null to free the one it has. @param turn what it is to say when it has. */
  readonly assign: (peer: PeerId, slice: Assignment | null, turn: number | null) => void;
}

/** A peer that was told to load a slice, and should have said long ago that it has. */
export interface Overdue {
  readonly peer: PeerId;
  readonly slice: Assignment;
  /** What it was given for it. */
  readonly limitMs: number;
}

/**
 * Carries placements out without breaking what works. A peer that serves and is to hold something else goes on serving
 * until others cover its layers, then takes no new requests until those it has are done, and only then is told. A peer
 * that serves nothing is told at once.
 */
export class Moves {
  readonly #deps: MovesDeps;
  #turns = 0;

  constructor(deps: MovesDeps) {
    this.#deps = deps;
  }

  /** Makes a placement the aim of everybody. A move that it takes back is not made. */
  aimFor(assignments: ReadonlyMap<PeerId, Assignment>, nowMs: number): void {
    for (const [peer, standing] of this.#deps.peers.lenders()) {
      const to = assignments.get(peer) ?? null;
      if (!sameTarget(targetOf(standing), to)) this.#redirect(peer, standing, to, nowMs);
    }
    this.advance(nowMs);
  }

  /**
   * Takes back the moves of peers that still serve a model which is not covered without them: after a loss it may need
   * them where they are.
   */
  takeBack(): void {
    const { models, peers } = this.#deps;
    const uncovered = new Set(
      models.filter((card) => !isCovered(card.layerCount, peers.serving(card.id))).map(({ id }) => id),
    );
    for (const [peer, standing] of peers.lenders()) {
      if (!('move' in standing) || standing.move === null || !uncovered.has(standing.slice.model)) continue;
      const { lent, slice } = standing;
      peers.set(peer, { kind: 'serving', lent, slice, move: null });
    }
  }

  /** Makes every move whose time has come. To be called after every change, and as time passes. */
  advance(nowMs: number): void {
    const { peers, answerable } = this.#deps;
    for (const [peer] of peers.lenders()) {
      // Read anew: the moves before this one changed what is covered.
      const standing = peers.lender(peer);
      if (standing?.kind !== 'serving' || standing.move === null) continue;
      const { lent, slice, move } = standing;
      if (this.#canBeSpared(peer, standing)) {
        peers.set(peer, { kind: 'draining', lent, slice, move, sinceMs: nowMs });
      } else if (nowMs - move.sinceMs >= MOVE_PATIENCE_MS) {
        peers.set(peer, { kind: 'serving', lent, slice, move: null });
      }
    }
    for (const [peer, standing] of peers.lenders()) {
      if (standing.kind !== 'draining') continue;
      const limitMs = this.#isUrgent(standing.move) ? URGENT_DRAIN_LIMIT_MS : DRAIN_LIMIT_MS;
      if (answerable(peer) === 0 || nowMs - standing.sinceMs >= limitMs)
        this.#tell(peer, standing, standing.move.to, nowMs);
    }
  }

  /** Who hangs: a slice that one of them holds is nobody else's, though nobody serves it. */
  overdue(nowMs: number): Overdue[] {
    const { models, peers } = this.#deps;
    return peers.lenders().flatMap(([peer, standing]) => {
      if (standing.kind !== 'loading') return [];
      const { slice, sinceMs } = standing;
      const card = models.find(({ id }) => id === slice.model);
      if (card === undefined) return [];
      const limitMs = loadingLimitMs(card, slice);
      return nowMs - sinceMs >= limitMs ? [{ peer, slice, limitMs }] : [];
    });
  }

  /** For a peer that seems not to know what it was given. */
  tellAgain(peer: PeerId, standing: Exclude<LenderStanding, { kind: 'waiting' }>): void {
    this.#deps.assign(peer, standing.slice, standing.kind === 'loading' ? standing.turn : null);
  }

  #redirect(peer: PeerId, standing: LenderStanding, to: Assignment | null, nowMs: number): void {
    const { peers } = this.#deps;
    if (standing.kind === 'waiting' || standing.kind === 'loading') {
      this.#tell(peer, standing, to, nowMs);
      return;
    }
    const { lent, slice } = standing;
    if (sameTarget(slice, to)) peers.set(peer, { kind: 'serving', lent, slice, move: null });
    else peers.set(peer, { ...standing, move: { to, sinceMs: nowMs } });
  }

  #tell(peer: PeerId, standing: LenderStanding, to: Assignment | null, nowMs: number): void {
    const lent = lentAfter(standing);
    // Word of an earlier load of it may still be on its way, and must not count for this one.
    const turn =
      to !== null && lent.abandoned.some((slice) => sameSlice(slice, to)) ? (this.#turns += 1) : null;
    if (to === null) this.#deps.peers.set(peer, { kind: 'waiting', lent });
    else this.#deps.peers.set(peer, { kind: 'loading', lent, slice: to, sinceMs: nowMs, turn });
    this.#deps.assign(peer, to, turn);
  }

  /**
   * A peer can go when the others that serve its model cover it, or when its staying is of no use: the model will not be
   * covered by those who serve and those who load, or not over this peer, or is given up by the placement.
   */
  #canBeSpared(peer: PeerId, { slice }: { readonly slice: Assignment }): boolean {
    const { model } = slice;
    const { models, peers } = this.#deps;
    const card = models.find(({ id }) => id === model);
    if (card === undefined) return true;
    const { layerCount } = card;
    const others = peers.serving(model).filter((member) => member.peer !== peer);
    const held = this.#slices(model, heldBy);
    return (
      isCovered(layerCount, others) ||
      !isCovered(layerCount, held) ||
      !new Reach(layerCount, held).isUseful(slice) ||
      !isCovered(layerCount, this.#slices(model, targetOf))
    );
  }

  /** Whether requests wait for the move: its model is not covered without it. */
  #isUrgent({ to }: Move): boolean {
    if (to === null) return false;
    const { models, peers } = this.#deps;
    const card = models.find(({ id }) => id === to.model);
    return card !== undefined && !isCovered(card.layerCount, peers.serving(card.id));
  }

  /** The slices of one model that `sliceOf` makes of everybody's standing. */
  #slices(model: ModelId, sliceOf: (standing: LenderStanding) => Assignment | null): Assignment[] {
    return this.#deps.peers.lenders().flatMap(([, standing]) => {
      const slice = sliceOf(standing);
      return slice?.model === model ? [slice] : [];
    });
  }
}

function lentAfter(standing: LenderStanding): Lent {
  switch (standing.kind) {
    case 'waiting':
      return standing.lent;
    case 'loading':
      return withAbandoned(standing.lent, standing.slice);
    case 'serving':
    case 'draining':
      return withCached(standing.lent, standing.slice);
  }
}

/** What a peer serves to new requests, or will when it has loaded. */
function heldBy(standing: LenderStanding): Assignment | null {
  return standing.kind === 'serving' || standing.kind === 'loading' ? standing.slice : null;
}

function sameTarget(a: Assignment | null, b: Assignment | null): boolean {
  return a === null || b === null ? a === b : sameSlice(a, b);
}
