import { SkeinError } from '../src/protocol/errors.ts';
import type { PeerId } from '../src/protocol/ids.ts';
import type { ClientMessage, ModelCard } from '../src/protocol/signaling.ts';
import type { Measurements } from './measurements.ts';
import type { Moves } from './moves.ts';
import type { Outbox } from './outbox.ts';
import { sameSlice, withCached } from './peers.ts';
import type { LenderStanding, Lent, Peers } from './peers.ts';
import type { Placing } from './placing.ts';
import type { Probing } from './probing.ts';
import type { Rebalancing } from './rebalancing.ts';
import { fits } from './scheduler/cost.ts';
import type { Assignment } from './scheduler/types.ts';
import type { Settling } from './settling.ts';
import { capitalized, sliceInWords, wishedSlice } from './wishes.ts';

export interface LendingDeps {
  readonly models: readonly ModelCard[];
  readonly peers: Peers;
  readonly measurements: Measurements;
  readonly moves: Moves;
  readonly placing: Placing;
  readonly probing: Probing;
  readonly rebalancing: Rebalancing;
  readonly settling: Settling;
  readonly outbox: Outbox;
  /** What others found of a suspect, which is one however often it joins; null for who is none. */
  readonly suspicionOf: (peer: PeerId) => string | null;
  /** A peer is back with the slice that it held. */
  readonly onReturned: () => void;
}

type Message<Type extends ClientMessage['type']> = Extract<ClientMessage, { type: Type }>;

/** What peers that lend their device say of it, from `join` to `leave`. */
export class Lending {
  readonly #deps: LendingDeps;
  /** Of the last ping to each peer that came back; known before it joins. */
  readonly #serverRttSeconds = new Map<PeerId, number>();

  constructor(deps: LendingDeps) {
    this.#deps = deps;
  }

  roundTrip(peer: PeerId, seconds: number, nowMs: number): void {
    this.#serverRttSeconds.set(peer, seconds);
    this.#deps.measurements.serverRoundTrip(peer, seconds, nowMs);
  }

  /** Joining again tells a new capability; a slice that still fits stays. */
  join(peer: PeerId, { capability, cached, holds, wish }: Message<'join'>, nowMs: number): void {
    const { models, peers, placing, probing, outbox } = this.#deps;
    const wished = wish === undefined ? null : wishedSlice(models, wish, capability);
    if (wished instanceof SkeinError) {
      if (holds !== undefined) outbox.send(peer, { type: 'unassign' });
      outbox.refuse(peer, wished.code, wished.message);
      this.leave(peer, nowMs);
      return;
    }
    const standing = peers.lender(peer);
    const abandoned = standing?.lent.abandoned ?? [];
    const lent = { capability, cached, abandoned, ...(wished && { wish: wished }) };
    const words = this.#deps.suspicionOf(peer);
    if (words !== null && standing === null) {
      const slice = peers.suspect(peer)?.slice ?? null;
      if (slice === null && holds !== undefined) outbox.send(peer, { type: 'unassign' });
      peers.set(peer, { kind: 'suspect', lent, slice, words });
      return;
    }
    this.#measure(peer, lent, nowMs);
    const wishWords = wished === null ? '' : `, for ${sliceInWords(wished)} only`;
    outbox.log(`${peer} lends ${capability.adapter}${wishWords}`);
    peers.set(peer, withLent(standing, lent));
    if (holds !== undefined) this.#hold(peer, holds);
    placing.place(nowMs);
    probing.ask(nowMs);
  }

  /** What a peer says of a slice that it no longer holds is of no use; its links are where they were. */
  report(peer: PeerId, { stage, links }: Message<'report'>, nowMs: number): void {
    const standing = this.#deps.peers.lender(peer);
    if (standing === null) return;
    const isOfSlice = stage !== null && 'slice' in standing && sameSlice(standing.slice, stage);
    this.#deps.measurements.reported(peer, { stage: isOfSlice ? stage : null, links }, nowMs);
  }

  serving(peer: PeerId, message: Message<'serving'>): void {
    const { peers, outbox } = this.#deps;
    const standing = peers.lender(peer);
    if (standing !== null && 'slice' in standing && sameSlice(standing.slice, message)) {
      // A word of an earlier assignment of the same slice says nothing of this one.
      const isOfTurn =
        standing.kind === 'loading' && (standing.turn === null || standing.turn === message.turn);
      if (isOfTurn) this.#serve(peer, standing);
    } else if (
      peers.suspect(peer) === null &&
      standing?.lent.abandoned.some((slice) => sameSlice(slice, message)) !== true
    ) {
      const words = `${capitalized(sliceInWords(message))} are not assigned to this peer.`;
      outbox.refuse(peer, 'bad-argument', words);
    }
  }

  loadFailed(peer: PeerId, { error }: Message<'load-failed'>, nowMs: number): void {
    this.#deps.outbox.log(`${peer} could not load its slice: ${error.message}`);
    this.leave(peer, nowMs);
  }

  /** The slice is lost with its device, and is being loaded anew: no route leads there until it is. */
  reloading(peer: PeerId, message: Message<'reloading'>, nowMs: number): void {
    const { peers, moves, placing, outbox } = this.#deps;
    const suspect = peers.suspect(peer);
    if (suspect !== null && suspect.slice !== null) {
      outbox.send(peer, { type: 'unassign' });
      peers.set(peer, { ...suspect, slice: null });
      return;
    }
    const standing = peers.lender(peer);
    if (standing?.kind !== 'serving' && standing?.kind !== 'draining') return;
    if (!sameSlice(standing.slice, message)) return;
    outbox.log(`${peer} loads ${sliceInWords(message)} again: ${message.error.message}`);
    const { lent, slice } = standing;
    // Where it was to move, the placement says so again, and now it need not wait.
    peers.set(peer, { kind: 'loading', lent: withCached(lent, slice), slice, sinceMs: nowMs, turn: null });
    moves.takeBack();
    placing.place(nowMs);
  }

  /**
   * Out of new routes at once; requests that it has are its own to finish. A peer that failed to load is not tried again
   * before it joins again.
   */
  leave(peer: PeerId, nowMs: number): void {
    const { peers } = this.#deps;
    if (peers.suspect(peer) !== null) peers.set(peer, { kind: 'visitor' });
    if (peers.lender(peer) !== null) this.#withdraw([peer], nowMs);
  }

  /** It is given no work, and its layers are given to others, as if it had left. */
  suspect(peer: PeerId, words: string, nowMs: number): void {
    const { peers, outbox } = this.#deps;
    const standing = peers.lender(peer);
    if (standing === null) return;
    const isLoaded = standing.kind === 'serving' || standing.kind === 'draining';
    if (standing.kind === 'loading') outbox.send(peer, { type: 'unassign' });
    this.#forget(peer);
    const { lent } = standing;
    peers.set(peer, { kind: 'suspect', lent, slice: isLoaded ? standing.slice : null, words });
    this.#replaceLost(nowMs);
  }

  /** A suspect is one no more. It still has what it had. */
  clear(peer: PeerId, nowMs: number): void {
    const { peers, placing } = this.#deps;
    const standing = peers.suspect(peer);
    if (standing === null) return;
    const { lent, slice } = standing;
    this.#measure(peer, lent, nowMs);
    if (slice === null) peers.set(peer, { kind: 'waiting', lent });
    else this.#serve(peer, { lent, slice });
    placing.place(nowMs);
  }

  /** The socket is gone, and with it everything of the peer. */
  disconnected(peer: PeerId, nowMs: number): void {
    this.#serverRttSeconds.delete(peer);
    if (this.#deps.peers.lender(peer) !== null) this.#deps.settling.lost(nowMs);
    try {
      this.leave(peer, nowMs);
    } finally {
      this.#deps.peers.remove(peer);
    }
  }

  /**
   * To be called as time passes. Those that load for too long count as failed to load. Should one of them wake up after
   * all, it frees what it has, and tells its person why.
   */
  giveUpHung(nowMs: number): void {
    const { moves, outbox } = this.#deps;
    const hung = moves.overdue(nowMs);
    if (hung.length === 0) return;
    for (const { peer, slice, limitMs } of hung) {
      const layers = sliceInWords(slice);
      const minutes = Math.round(limitMs / 60_000);
      outbox.log(`${peer} did not load ${layers} within ${minutes} minutes`);
      outbox.send(peer, { type: 'unassign' });
      const words = `This device did not load ${layers} within ${minutes} minutes, so others were given them. Start again to lend it.`;
      outbox.refuse(peer, 'timeout', words);
    }
    this.#withdraw(
      hung.map(({ peer }) => peer),
      nowMs,
    );
  }

  #measure(peer: PeerId, { capability }: Lent, nowMs: number): void {
    const { measurements } = this.#deps;
    measurements.joined(peer, capability, nowMs);
    const seconds = this.#serverRttSeconds.get(peer);
    if (seconds !== undefined) measurements.serverRoundTrip(peer, seconds, nowMs);
  }

  /**
   * Whoever was here before its connection broke, or before a restart, goes on with what it holds; also with what it has
   * loaded since then, as long as it was given nothing else.
   */
  #hold(peer: PeerId, holds: Assignment): void {
    const { models, peers, measurements, moves, outbox, onReturned } = this.#deps;
    const standing = peers.lender(peer);
    if (standing === null) return;
    const slice = { model: holds.model, layerStart: holds.layerStart, layerEnd: holds.layerEnd };
    if (standing.kind !== 'waiting') {
      if (!sameSlice(standing.slice, slice)) moves.tellAgain(peer, standing);
      else if (standing.kind === 'loading') this.#serve(peer, standing);
      return;
    }
    const card = models.find(({ id }) => id === slice.model);
    const isSlice =
      card !== undefined && slice.layerStart < slice.layerEnd && slice.layerEnd <= card.layerCount;
    const fitsIt = isSlice && fits(card, measurements.capability(peer).memoryBytes, slice);
    if (!fitsIt || !peers.takeHold(peer)) {
      outbox.send(peer, { type: 'unassign' });
      return;
    }
    outbox.log(`${peer} is back with ${sliceInWords(slice)}`);
    this.#serve(peer, { lent: standing.lent, slice });
    onReturned();
  }

  #serve(peer: PeerId, { lent, slice }: { readonly lent: Lent; readonly slice: Assignment }): void {
    this.#deps.peers.set(peer, { kind: 'serving', lent, slice, move: null });
  }

  /** Their slices go to others, all in one placement: none to another of them. */
  #withdraw(lenders: readonly PeerId[], nowMs: number): void {
    for (const peer of lenders) {
      this.#forget(peer);
      this.#deps.peers.set(peer, { kind: 'visitor' });
    }
    this.#replaceLost(nowMs);
  }

  #forget(peer: PeerId): void {
    const { measurements, probing, rebalancing } = this.#deps;
    measurements.left(peer);
    probing.forget(peer);
    rebalancing.forget(peer);
  }

  #replaceLost(nowMs: number): void {
    this.#deps.moves.takeBack();
    this.#deps.placing.place(nowMs);
  }
}

function withLent(standing: LenderStanding | null, lent: Lent): LenderStanding {
  return standing === null ? { kind: 'waiting', lent } : { ...standing, lent };
}
