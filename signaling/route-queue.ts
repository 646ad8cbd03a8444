import type { PeerId, RequestId } from '../src/protocol/ids.ts';
import type { Hop } from '../src/protocol/route.ts';
import type { ClientMessage } from '../src/protocol/signaling.ts';

export type RouteRequest = Extract<ClientMessage, { type: 'route-request' }>;

/** A request that waits for a route. */
export interface QueuedRequest {
  readonly requester: PeerId;
  readonly request: RouteRequest;
  /** The route that it had, whose hops may still have its prefix; null for a new request. */
  readonly had: readonly Hop[] | null;
  /** Whether it lost that route and did not give it up: it may have part of an answer, and goes before all that have none. */
  readonly resumes: boolean;
  /** When its requester's time, and some grace, is over. */
  readonly endsMs: number;
}

interface Entry extends QueuedRequest {
  /** What its requester was last told, and when. */
  toldPosition: number | null;
  toldMs: number;
  /** Counts when it was last found to be held up by itself; null where it was not. */
  heldTurn: number | null;
}

/** A place in the line that its requester is to be told. */
export interface Notice {
  readonly requester: PeerId;
  readonly requestId: RequestId;
  /** 1 is next. */
  readonly position: number;
}

/**
 * The requests that wait for room on one model, in the order in which they are served. Those that lost their route come
 * first. Requesters take turns: whoever has been served goes behind all the others that wait, and each one's own requests
 * keep their order. So nobody's place depends on how many requests somebody else has.
 */
export class RouteQueue {
  /** By requester, in the order of their turns. Never an empty list. */
  readonly #resuming = new Map<PeerId, Entry[]>();
  readonly #new = new Map<PeerId, Entry[]>();
  readonly #entries = new Map<RequestId, Entry>();
  #heldTurns = 0;

  get length(): number {
    return this.#entries.size;
  }

  /** Those of them that lost their route. */
  get resumingCount(): number {
    let count = 0;
    for (const entries of this.#resuming.values()) count += entries.length;
    return count;
  }

  countOf(requester: PeerId): number {
    return (this.#resuming.get(requester)?.length ?? 0) + (this.#new.get(requester)?.length ?? 0);
  }

  get(requestId: RequestId): QueuedRequest | null {
    return this.#entries.get(requestId) ?? null;
  }

  /** Behind the others of its requester. The id must not be queued. */
  add(queued: QueuedRequest): void {
    const entry: Entry = { ...queued, toldPosition: null, toldMs: -Infinity, heldTurn: null };
    const lane = this.#laneOf(queued);
    const own = lane.get(queued.requester);
    if (own === undefined) lane.set(queued.requester, [entry]);
    else own.push(entry);
    this.#entries.set(queued.request.requestId, entry);
  }

  /** Takes a request out, wherever it stands. @param wasServed its requester has had its turn. */
  remove(requestId: RequestId, wasServed = false): void {
    const entry = this.#entries.get(requestId);
    if (entry === undefined) return;
    this.#entries.delete(requestId);
    const lane = this.#laneOf(entry);
    const rest = (lane.get(entry.requester) ?? []).filter((other) => other !== entry);
    if (rest.length === 0 || wasServed) lane.delete(entry.requester);
    if (rest.length > 0) lane.set(entry.requester, rest);
  }

  removeAllOf(requester: PeerId): void {
    for (const lane of [this.#resuming, this.#new]) {
      for (const { request } of lane.get(requester) ?? []) this.#entries.delete(request.requestId);
      lane.delete(requester);
    }
  }

  /** Nothing but the peers that it excludes holds it up. */
  holdUp(requestId: RequestId): void {
    const entry = this.#entries.get(requestId);
    if (entry === undefined) return;
    this.#heldTurns += 1;
    entry.heldTurn = this.#heldTurns;
  }

  /** Who is held up by itself, but for the `count` of them for whom that was found out the longest ago. */
  passedOver(count: number): ReadonlySet<RequestId> {
    const held = [...this.#entries]
      .flatMap(([requestId, { heldTurn }]) => (heldTurn === null ? [] : [{ requestId, heldTurn }]))
      .sort((a, b) => a.heldTurn - b.heldTurn);
    return new Set(held.slice(count).map(({ requestId }) => requestId));
  }

  /** In the order in which they are to be served; what it gives may be removed meanwhile. */
  *inOrder(): Generator<QueuedRequest> {
    for (const lane of [this.#resuming, this.#new]) {
      let queues = [...lane.values()];
      for (let turn = 0; queues.length > 0; turn += 1) {
        queues = queues.filter((queue) => turn < queue.length);
        for (const queue of queues) {
          const entry = queue[turn];
          if (entry !== undefined) yield entry;
        }
      }
    }
  }

  /** The place of one request, which counts as told; null if it does not wait. */
  takeNotice(requestId: RequestId, nowMs: number): Notice | null {
    const entry = this.#entries.get(requestId);
    if (entry === undefined) return null;
    let position = 1;
    for (const { request } of this.inOrder()) {
      if (request.requestId === requestId) break;
      position += 1;
    }
    entry.toldPosition = position;
    entry.toldMs = nowMs;
    return { requester: entry.requester, requestId, position };
  }

  /**
   * Who is to be told its place now, and counts as told: whose place has changed, but nobody twice within `restMs`, and
   * everybody again after `repeatMs`.
   */
  takeNotices(nowMs: number, { restMs, repeatMs }: { restMs: number; repeatMs: number }): Notice[] {
    const notices: Notice[] = [];
    let position = 0;
    for (const { requester, request } of this.inOrder()) {
      position += 1;
      const entry = this.#entries.get(request.requestId);
      if (entry === undefined) continue;
      const silentMs = nowMs - entry.toldMs;
      const isDue = silentMs >= repeatMs || (entry.toldPosition !== position && silentMs >= restMs);
      if (!isDue) continue;
      entry.toldPosition = position;
      entry.toldMs = nowMs;
      notices.push({ requester, requestId: request.requestId, position });
    }
    return notices;
  }

  #laneOf({ resumes }: QueuedRequest): Map<PeerId, Entry[]> {
    return resumes ? this.#resuming : this.#new;
  }
}
