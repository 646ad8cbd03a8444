import type { PeerId } from '../src/protocol/ids.ts';
import { MIN_LINK_BYTES_PER_SECOND } from '../src/protocol/limits.ts';
import type { LinkReport } from '../src/protocol/signaling.ts';
import type { Link } from './scheduler/types.ts';
import { Smoothed } from './smoothed.ts';

const RTT_HALF_LIFE_MS = 20_000;
const BANDWIDTH_HALF_LIFE_MS = 40_000;
/** What nobody repeats is believed half as much after this time. */
export const LINK_MEMORY_MS = 120_000;
/** A word that was not repeated for so long is forgotten. */
const FORGOTTEN_AFTER_MS = 600_000;
/** Links of one peer, by its own word; the ones it spoke of last. More than it reports, for they change. */
const MAX_LINKS_PER_PEER = 128;
/** 100 Gbit/s: nobody's browser sends more. */
const MAX_BYTES_PER_SECOND = 12.5e9;

interface Word {
  readonly rttSeconds: Smoothed;
  readonly bytesPerSecond: Smoothed;
}

/** A link as both ends tell of it. */
export interface KnownLink extends Link {
  readonly a: PeerId;
  /** Greater than `a`. */
  readonly b: PeerId;
  /** When somebody last spoke of it. */
  readonly atMs: number;
}

/** What peers say of the ways between them. Where both ends speak, the worse word counts, while it is as fresh as the other. */
export class LinkBook {
  readonly #words = new Map<PeerId, Map<PeerId, Word>>();

  /** @param isKnown whose links count; those to others are ignored. */
  report(
    from: PeerId,
    links: readonly LinkReport[],
    isKnown: (peer: PeerId) => boolean,
    nowMs: number,
  ): void {
    const words = this.#words.get(from) ?? new Map<PeerId, Word>();
    this.#words.set(from, words);
    for (const { peer, rttSeconds, bytesPerSecond } of links) {
      if (peer === from || !isKnown(peer)) continue;
      const word = words.get(peer) ?? {
        rttSeconds: new Smoothed(RTT_HALF_LIFE_MS),
        bytesPerSecond: new Smoothed(BANDWIDTH_HALF_LIFE_MS),
      };
      word.rttSeconds.add(rttSeconds, nowMs);
      if (bytesPerSecond !== null) {
        const believed = Math.min(Math.max(bytesPerSecond, MIN_LINK_BYTES_PER_SECOND), MAX_BYTES_PER_SECOND);
        word.bytesPerSecond.add(believed, nowMs);
      }
      words.delete(peer);
      words.set(peer, word);
      const [oldest] = words.keys();
      if (words.size > MAX_LINKS_PER_PEER && oldest !== undefined) words.delete(oldest);
    }
  }

  /** When this peer last spoke of its way to the other; null when it never did. */
  spokenAtMs(from: PeerId, to: PeerId): number | null {
    return this.#words.get(from)?.get(to)?.rttSeconds.atMs ?? null;
  }

  forget(peer: PeerId): void {
    this.#words.delete(peer);
    for (const words of this.#words.values()) words.delete(peer);
  }

  /** Every link once. Words that are too old are thrown away. */
  links(nowMs: number): KnownLink[] {
    this.#forgetOld(nowMs);
    const links: KnownLink[] = [];
    for (const [from, words] of this.#words) {
      for (const [to, word] of words) {
        const answer = this.#words.get(to)?.get(from);
        if (answer === undefined || from < to) links.push(together(from, to, word, answer));
      }
    }
    return links;
  }

  #forgetOld(nowMs: number): void {
    for (const words of this.#words.values()) {
      for (const [to, { rttSeconds }] of words) {
        if (nowMs - rttSeconds.atMs > FORGOTTEN_AFTER_MS) words.delete(to);
      }
    }
  }
}

function together(from: PeerId, to: PeerId, word: Word, answer: Word | undefined): KnownLink {
  const [a, b] = from < to ? [from, to] : [to, from];
  return {
    a,
    b,
    rttSeconds: agreed(word.rttSeconds, answer?.rttSeconds, 'longer') ?? 0,
    bytesPerSecond: agreed(word.bytesPerSecond, answer?.bytesPerSecond, 'lower'),
    atMs: Math.max(word.rttSeconds.atMs, answer?.rttSeconds.atMs ?? 0),
  };
}

/**
 * The worse of two words, as far as it is as fresh as the better one: what it is worse is forgotten by half for each
 * `LINK_MEMORY_MS` that it is older. Null where nobody spoke.
 */
function agreed(one: Smoothed, other: Smoothed | undefined, worse: 'longer' | 'lower'): number | null {
  if (other === undefined || other.value === null) return one.value;
  if (one.value === null) return other.value;
  const [older, newer] = one.atMs < other.atMs ? [one, other] : [other, one];
  const [before, now] = [older.value ?? 0, newer.value ?? 0];
  const isOlderWorse = worse === 'longer' ? before > now : before < now;
  return isOlderWorse ? older.faded(now, LINK_MEMORY_MS, newer.atMs) : now;
}
