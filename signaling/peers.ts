import type { ModelId, PeerId } from '../src/protocol/ids.ts';
import { MAX_CACHED_SLICES } from '../src/protocol/limits.ts';
import type { Capability, MeshMember } from '../src/protocol/signaling.ts';
import { RESUME_WORD_MS } from './limits.ts';
import type { Assignment, LayerRange } from './scheduler/types.ts';

/** What a peer that lends its device told of it. */
export interface Lent {
  /** As it claims; what is believed of it is in the measurements. */
  readonly capability: Capability;
  /** Slices whose weights it still has, the latest first: what it said when it joined, and what it loaded since. */
  readonly cached: readonly Assignment[];
  /** Slices that it was loading when it was told otherwise: word that one of them is loaded may still be on its way. */
  readonly abandoned: readonly Assignment[];
  /** The only slice that its owner wants it to hold; absent where anything will do. */
  readonly wish?: Assignment;
}

/** What a peer that serves is to do next. */
export interface Move {
  /** Null: it is to free its slice and wait. */
  readonly to: Assignment | null;
  /** When it was decided. */
  readonly sinceMs: number;
}

/** A peer that lends its device, from `join` to `leave`. */
export type LenderStanding =
  /** Has no work. */
  | { readonly kind: 'waiting'; readonly lent: Lent }
  | {
      readonly kind: 'loading';
      readonly lent: Lent;
      readonly slice: Assignment;
      /** Of the `assign`. */
      readonly sinceMs: number;
      /** Of the `assign`, where it had one: `serving` repeats it. */
      readonly turn: number | null;
    }
  /** Answers, and takes new requests; also while a move that is decided has to wait for others to take its place. */
  | { readonly kind: 'serving'; readonly lent: Lent; readonly slice: Assignment; readonly move: Move | null }
  /** Finishes the requests it has and takes no new ones; then it makes its move. `sinceMs`: of the last new request. */
  | {
      readonly kind: 'draining';
      readonly lent: Lent;
      readonly slice: Assignment;
      readonly move: Move;
      readonly sinceMs: number;
    };

/** A peer that would lend its device, and is given no work for a while because others found what it sent wrong. */
export interface SuspectStanding {
  readonly kind: 'suspect';
  readonly lent: Lent;
  /** What it has loaded and answers with; null for nothing. */
  readonly slice: Assignment | null;
  /** What others found. */
  readonly words: string;
}

/** What a connected peer is to the mesh. */
export type Standing =
  /** Connected, but has not said hello. `isResumed`: it showed that it had this id before. */
  | { readonly kind: 'stranger'; readonly isResumed: boolean }
  /** Uses the mesh without lending anything. */
  | { readonly kind: 'visitor' }
  | SuspectStanding
  | LenderStanding;

/** The connected peers, in order of arrival; those that lend their device, in order of joining. */
export class Peers {
  readonly #standings = new Map<PeerId, Standing>();
  /** Those of them that lend their device: few of many, where requesters come and go. */
  readonly #lenders = new Map<PeerId, LenderStanding>();
  readonly #suspects = new Map<PeerId, SuspectStanding>();
  /** When peers that had their id before a connection broke came back. */
  readonly #resumedMs = new Map<PeerId, number>();
  /** Those of them that have not said yet, or not yet again, what they hold. */
  readonly #mayHold = new Set<PeerId>();
  #version = 0;

  /** Another number after every change to a peer that lends its device, or would. */
  get version(): number {
    return this.#version;
  }

  get(peer: PeerId): Standing | undefined {
    return this.#standings.get(peer);
  }

  set(peer: PeerId, standing: Standing): void {
    if ('lent' in standing || this.#lenders.has(peer) || this.#suspects.has(peer)) this.#version += 1;
    this.#standings.set(peer, standing);
    if (standing.kind === 'suspect') this.#suspects.set(peer, standing);
    else this.#suspects.delete(peer);
    if (standing.kind !== 'suspect' && 'lent' in standing) this.#lenders.set(peer, standing);
    else this.#lenders.delete(peer);
  }

  remove(peer: PeerId): void {
    const wasLender = this.#lenders.delete(peer);
    const wasSuspect = this.#suspects.delete(peer);
    if (wasLender || wasSuspect) this.#version += 1;
    this.#standings.delete(peer);
    this.#resumedMs.delete(peer);
    this.#mayHold.delete(peer);
  }

  resumed(peer: PeerId, nowMs: number): void {
    this.#resumedMs.set(peer, nowMs);
    this.#mayHold.add(peer);
  }

  /** Whether a peer may go on with a slice that it was not given here, which it may once each time that it comes back. */
  takeHold(peer: PeerId): boolean {
    return this.#mayHold.delete(peer);
  }

  /** Whether what a peer says of its routes from before its connection broke is to be heard: it has just come back. */
  isBack(peer: PeerId, nowMs: number): boolean {
    return nowMs - (this.#resumedMs.get(peer) ?? -Infinity) < RESUME_WORD_MS;
  }

  suspect(peer: PeerId): SuspectStanding | null {
    return this.#suspects.get(peer) ?? null;
  }

  lender(peer: PeerId): LenderStanding | null {
    return this.#lenders.get(peer) ?? null;
  }

  /** Peers that said hello. */
  greeted(): PeerId[] {
    return [...this.#standings].filter(([, { kind }]) => kind !== 'stranger').map(([peer]) => peer);
  }

  isGreeted(peer: PeerId): boolean {
    const standing = this.#standings.get(peer);
    return standing !== undefined && standing.kind !== 'stranger';
  }

  /** Peers that lend their device. A copy: standings may change while it is walked. */
  lenders(): (readonly [PeerId, LenderStanding])[] {
    return [...this.#lenders];
  }

  /** Peers whose slice of the model answers and takes new requests. */
  serving(model: ModelId): (LayerRange & { readonly peer: PeerId })[] {
    const serving: (LayerRange & { readonly peer: PeerId })[] = [];
    for (const [peer, standing] of this.#lenders) {
      if (standing.kind !== 'serving' || standing.slice.model !== model) continue;
      const { layerStart, layerEnd } = standing.slice;
      serving.push({ peer, layerStart, layerEnd });
    }
    return serving;
  }

  /** Whether a peer has this slice loaded, though it may drain. */
  holds(peer: PeerId, slice: Assignment): boolean {
    const standing = this.#lenders.get(peer);
    return (
      (standing?.kind === 'serving' || standing?.kind === 'draining') && sameSlice(standing.slice, slice)
    );
  }

  /** What everybody holds once all moves are made. */
  assignments(): Map<PeerId, Assignment> {
    const assignments = new Map<PeerId, Assignment>();
    for (const [peer, standing] of this.#lenders) {
      const target = targetOf(standing);
      if (target !== null) assignments.set(peer, target);
    }
    return assignments;
  }

  /** What pages are shown: a peer that drains still serves. */
  members(): MeshMember[] {
    const members = [...this.#lenders].flatMap(([peer, standing]): MeshMember[] => {
      if (!('slice' in standing)) return [];
      const state = standing.kind === 'loading' ? 'loading' : 'serving';
      return [{ peer, ...standing.slice, state, adapter: standing.lent.capability.adapter }];
    });
    const suspects = [...this.#suspects].flatMap(([peer, { lent, slice, words }]): MeshMember[] => {
      const { adapter } = lent.capability;
      return slice === null ? [] : [{ peer, ...slice, state: 'suspect', suspicion: words, adapter }];
    });
    return [...members, ...suspects];
  }
}

/** What a peer holds once its move is made; null for nothing. */
export function targetOf(standing: LenderStanding): Assignment | null {
  if ('move' in standing && standing.move !== null) return standing.move.to;
  return 'slice' in standing ? standing.slice : null;
}

/** A peer keeps the weights of what it held, and of so many slices before. */
export function withCached(lent: Lent, slice: Assignment): Lent {
  return { ...lent, cached: withFirst(slice, lent.cached) };
}

export function withAbandoned(lent: Lent, slice: Assignment): Lent {
  return { ...lent, abandoned: withFirst(slice, lent.abandoned) };
}

function withFirst(slice: Assignment, others: readonly Assignment[]): Assignment[] {
  return [slice, ...others.filter((other) => !sameSlice(other, slice))].slice(0, MAX_CACHED_SLICES);
}

export function sameSlice(a: Assignment, b: Assignment): boolean {
  return a.model === b.model && a.layerStart === b.layerStart && a.layerEnd === b.layerEnd;
}
