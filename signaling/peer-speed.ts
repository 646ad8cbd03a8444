import type { PeerId } from '../src/protocol/ids.ts';
import { medianOf } from './scheduler/median.ts';
import { halvings, Smoothed } from './smoothed.ts';

/** How quickly a peer's own reports and its requesters' words are followed. */
const OWN_HALF_LIFE_MS = 20_000;
const REQUESTER_HALF_LIFE_MS = 60_000;
/** What lasts for minutes is the peer's speed; what passes sooner is its pace. */
const SETTLED_HALF_LIFE_MS = 120_000;
/** In silence a passing pace is forgotten, so that a peer that was avoided for it is tried again. */
const PACE_MEMORY_MS = 60_000;
const SETTLED_MEMORY_MS = 600_000;

/** Requesters whose words are kept, those heard last. */
const MAX_REQUESTERS = 16;
/**
 * One requester's word counts up to these factors, two up to their squares, and so on. Slower counts for more: a newcomer
 * whose claim is too good must be found out by whoever is there, and a malicious word only keeps its own requests away
 * while it is alone, and is outvoted when it is not.
 */
const SLOWER_PER_REQUESTER = Math.log(8);
const FASTER_PER_REQUESTER = Math.log(2);
/** No peer counts as slower than this, or faster, whoever says so. */
const MAX_FACTOR = Math.log(1024);
/** Slower than this by its own word, it could as well leave. */
const MAX_OWN_FACTOR = Math.log(64);

/** Tokens that requesters must have got over a peer before its claim counts as checked. */
const PROVING_TOKENS = 64;
/** Requesters may find a peer this much slower than the mesh while its claim counts as true, and until it does not. */
const PROVEN_SLACK = Math.log(2);
const DISPROVEN_SLACK = Math.log(4);

/**
 * How much slower a peer is than its believed capability lets expect, as logarithms: 0 as expected, log 2 half as fast.
 * Its own word makes it slower than the mesh's words come to, and only that of others faster: a peer cannot claim its way to
 * work.
 */
export class PeerSpeed {
  readonly #own = new Smoothed(OWN_HALF_LIFE_MS);
  readonly #byRequester = new Map<PeerId, Smoothed>();
  readonly #settled = new Smoothed(SETTLED_HALF_LIFE_MS);
  /** Faster than this by its own word nobody is: what the mesh's own words come to together. */
  ownFloor = 0;
  #checkedTokens = 0;
  #proven = false;

  /** @param factor the time its steps took, by its own word, over what was expected. @param meshSlowness of all peers. */
  reportsSteps(factor: number, meshSlowness: number, nowMs: number): void {
    this.#own.add(Math.min(logarithm(factor), MAX_OWN_FACTOR), nowMs);
    this.#settle(meshSlowness, nowMs);
  }

  /** @param factor the time of a route over this peer over the predicted. */
  requesterSays(
    requester: PeerId,
    { factor, tokens }: { readonly factor: number; readonly tokens: number },
    meshSlowness: number,
    nowMs: number,
  ): void {
    const found = clamp(this.#othersSlowness() + logarithm(factor), MAX_FACTOR);
    const words = this.#byRequester.get(requester) ?? new Smoothed(REQUESTER_HALF_LIFE_MS);
    words.add(found, nowMs);
    this.#byRequester.delete(requester);
    this.#byRequester.set(requester, words);
    const [longestSilent] = this.#byRequester.keys();
    if (this.#byRequester.size > MAX_REQUESTERS && longestSilent !== undefined) {
      this.#byRequester.delete(longestSilent);
    }
    this.#checkedTokens += tokens;
    this.#judge(meshSlowness);
    this.#settle(meshSlowness, nowMs);
  }

  /** Whether others got what it claims; then what it claims beyond that is still only believed as it is measured. */
  get isProven(): boolean {
    return this.#proven;
  }

  /** By its own reports alone, believed or not; null before the first. */
  get ownSlowness(): number | null {
    return this.#own.value;
  }

  /** Null before anything was measured. */
  get slowness(): number | null {
    if (this.#own.value === null && this.#byRequester.size === 0) return null;
    return Math.max(this.ownFloor, this.#own.value ?? this.ownFloor) + this.#othersSlowness();
  }

  /** The part of the slowness that lasts and is not the whole mesh's. */
  settledSlowness(nowMs: number): number {
    return this.#settled.faded(0, SETTLED_MEMORY_MS, nowMs);
  }

  /** The part of the slowness that passes, and the mesh's. */
  passingSlowness(meshSlowness: number, nowMs: number): number {
    const { slowness } = this;
    if (slowness === null) return meshSlowness;
    const passing = slowness - (this.#settled.value ?? 0) - meshSlowness;
    return meshSlowness + passing * halvings(nowMs - this.#settled.atMs, PACE_MEMORY_MS);
  }

  #settle(meshSlowness: number, nowMs: number): void {
    this.#settled.add((this.slowness ?? 0) - meshSlowness, nowMs);
  }

  #judge(meshSlowness: number): void {
    const excess = (medianOf(this.#words()) ?? 0) - meshSlowness;
    if (excess > DISPROVEN_SLACK) this.#proven = false;
    else if (excess <= PROVEN_SLACK && this.#checkedTokens >= PROVING_TOKENS) this.#proven = true;
  }

  /** What requesters make of it together: the median, so that few of many say nothing. */
  #othersSlowness(): number {
    const requesters = this.#byRequester.size;
    const [fastest, slowest] = [-FASTER_PER_REQUESTER * requesters, SLOWER_PER_REQUESTER * requesters];
    return clamp(Math.min(slowest, Math.max(fastest, medianOf(this.#words()) ?? 0)), MAX_FACTOR);
  }

  #words(): number[] {
    return [...this.#byRequester.values()].map((words) => words.value ?? 0);
  }
}

function clamp(value: number, limit: number): number {
  return Math.min(limit, Math.max(-limit, value));
}

/** Finite, for a factor of 0 too. */
function logarithm(factor: number): number {
  return clamp(Math.log(factor), MAX_FACTOR);
}
