import type { ErrorCode } from '../src/protocol/errors.ts';
import type { PeerId } from '../src/protocol/ids.ts';
import {
  ACCUSATION_MS,
  MAX_ACCUSED,
  MAX_ACCUSERS,
  MAX_AVOIDED_PEERS,
  SUSPECT_AVOID_MS,
  SUSPECT_MS,
} from './limits.ts';

/** Words that a peer cannot say by being slow, far or gone: what it sent was wrong. */
const OF_WRONG_VALUES: ReadonlySet<ErrorCode> = new Set(['bad-frame', 'internal', 'bad-message']);

/** What a requester says of a peer. */
export interface Accusation {
  /** Who counts as one: all peers of an address are the same. */
  readonly accuser: string;
  readonly code: ErrorCode;
  /** Where it was this one or that one: the other, whose word it may be. */
  readonly other: PeerId | null;
}

interface KnownAccusation extends Accusation {
  readonly atMs: number;
}

/** What follows from an accusation for others than the accuser. */
export type Verdict =
  | { readonly kind: 'nothing' }
  /** `words`: for pages. */
  | { readonly kind: 'suspect'; readonly words: string };

/**
 * Who was found wrong by whom. One accuser keeps a peer from its own requests only; for the others a second one has to find
 * the same. Where an accuser cannot tell which of two peers it was, the second has to name no other pair than that one: of
 * two who accuse each other one lies, and it must not take the honest one with it. Time is told, in milliseconds of a clock
 * that never goes back.
 */
export class Accusations {
  /** The last accusations of each, that do not lead to anything yet. */
  readonly #accused = new Map<PeerId, readonly KnownAccusation[]>();
  readonly #suspects = new Map<PeerId, { readonly words: string; readonly untilMs: number }>();
  readonly #avoided = new Map<PeerId, Map<PeerId, number>>();

  /** @returns what it leads to. */
  accuse(accused: PeerId, accusation: Accusation, nowMs: number): Verdict {
    const { accuser, code } = accusation;
    if (!OF_WRONG_VALUES.has(code) || this.#suspects.has(accused)) return { kind: 'nothing' };
    const others = (this.#accused.get(accused) ?? []).filter(
      (before) => before.accuser !== accuser && nowMs - before.atMs < ACCUSATION_MS,
    );
    const confirmed = others.find(({ other }) => other === null || other !== accusation.other);
    this.#accused.delete(accused);
    if (confirmed === undefined) {
      this.#accused.set(accused, [{ ...accusation, atMs: nowMs }, ...others].slice(0, MAX_ACCUSERS));
      dropOldest(this.#accused, MAX_ACCUSED);
      return { kind: 'nothing' };
    }
    const codes = confirmed.code === code ? code : `${confirmed.code} and ${code}`;
    const words = `Two others found that what it sent was wrong (${codes}).`;
    this.#suspects.set(accused, { words, untilMs: nowMs + SUSPECT_MS });
    dropOldest(this.#suspects, MAX_ACCUSED);
    return { kind: 'suspect', words };
  }

  /** What others found of a suspect; null for who is none. */
  wordsOf(peer: PeerId): string | null {
    return this.#suspects.get(peer)?.words ?? null;
  }

  /** Keeps a requester's routes away from a peer for a while. @returns whether they were not already. */
  avoid(requester: PeerId, peer: PeerId, nowMs: number): boolean {
    const avoided = this.#avoided.get(requester) ?? new Map<PeerId, number>();
    const isNew = !((avoided.get(peer) ?? -Infinity) > nowMs);
    avoided.delete(peer);
    avoided.set(peer, nowMs + SUSPECT_AVOID_MS);
    dropOldest(avoided, MAX_AVOIDED_PEERS);
    this.#avoided.set(requester, avoided);
    return isNew;
  }

  /** Whom the requester's routes avoid, where there are others. */
  avoidedBy(requester: PeerId, nowMs: number): PeerId[] {
    const avoided = this.#avoided.get(requester);
    if (avoided === undefined) return [];
    return [...avoided].flatMap(([peer, untilMs]) => (untilMs > nowMs ? [peer] : []));
  }

  /** A requester is gone. What is said of it stays, for it may come back. */
  forgetRequester(requester: PeerId): void {
    this.#avoided.delete(requester);
  }

  /** @returns those who are suspects no more. To be called as time passes. */
  expire(nowMs: number): PeerId[] {
    for (const [accused, [last]] of this.#accused) {
      if (last === undefined || nowMs - last.atMs >= ACCUSATION_MS) this.#accused.delete(accused);
    }
    for (const [requester, avoided] of this.#avoided) {
      for (const [peer, untilMs] of avoided) if (untilMs <= nowMs) avoided.delete(peer);
      if (avoided.size === 0) this.#avoided.delete(requester);
    }
    const cleared = [...this.#suspects].flatMap(([peer, { untilMs }]) => (untilMs <= nowMs ? [peer] : []));
    for (const peer of cleared) this.#suspects.delete(peer);
    return cleared;
  }

  /** Entries that it remembers, for tests of its bounds. */
  get size(): number {
    let size = this.#accused.size + this.#suspects.size;
    for (const avoided of this.#avoided.values()) size += avoided.size;
    return size;
  }
}

function dropOldest<Key>(map: Map<Key, unknown>, most: number): void {
  for (const key of map.keys()) {
    if (map.size <= most) return;
    map.delete(key);
  }
}
