import type { ModelId, PeerId, RequestId } from '../src/protocol/ids.ts';
import type { Hop } from '../src/protocol/route.ts';

/** A request that was given a route and has not ended. */
export interface RoutedRequest {
  readonly requester: PeerId;
  readonly model: ModelId;
  readonly hops: readonly Hop[];
  /** Those of the route before it, which may have failed it. */
  readonly had: readonly Hop[];
  /** Of prompt and answer, at most: the cache it may come to take on each hop. */
  readonly tokens: number;
  /** Of the `RouteDecision`; 0 where another server made it. */
  readonly secondsPerToken: number;
  readonly startedMs: number;
  /** When its requester's time, and some grace, is over. */
  readonly endsMs: number;
}

interface Load {
  requests: number;
  /** Those of them whose route passes somebody who is gone. */
  broken: number;
  tokens: number;
}

/** Who computes what for whom right now: counted when a route is handed out, until the request ends. */
export class RequestLedger {
  readonly #requests = new Map<RequestId, RoutedRequest>();
  readonly #loads = new Map<PeerId, Load>();
  readonly #counts = new Map<PeerId, number>();
  /** Requests whose route passes somebody who is gone, until they end or have another. */
  readonly #broken = new Set<RequestId>();

  get size(): number {
    return this.#requests.size;
  }

  get(requestId: RequestId): RoutedRequest | null {
    return this.#requests.get(requestId) ?? null;
  }

  /** Requests whose route passes this peer. */
  inFlight(peer: PeerId): number {
    return this.#loads.get(peer)?.requests ?? 0;
  }

  /** Those of them that can still be answered over their route. */
  answerable(peer: PeerId): number {
    const load = this.#loads.get(peer);
    return load === undefined ? 0 : load.requests - load.broken;
  }

  /** Tokens of cache that they may come to take there. */
  reservedTokens(peer: PeerId): number {
    return this.#loads.get(peer)?.tokens ?? 0;
  }

  countOf(requester: PeerId): number {
    return this.#counts.get(requester) ?? 0;
  }

  /** Requests on a model. */
  countOn(model: ModelId): number {
    let count = 0;
    for (const request of this.#requests.values()) if (request.model === model) count += 1;
    return count;
  }

  endAllOn(model: ModelId): void {
    for (const [requestId, request] of this.#requests) if (request.model === model) this.end(requestId);
  }

  /** A request has one route at a time: a new one takes the place of the old. */
  start(requestId: RequestId, request: RoutedRequest): void {
    this.end(requestId);
    this.#requests.set(requestId, request);
    this.#count(request, 1);
  }

  /** Ending twice is safe. @returns what ended; null for unknown ids. */
  end(requestId: RequestId): RoutedRequest | null {
    const request = this.#requests.get(requestId);
    if (request === undefined) return null;
    this.#requests.delete(requestId);
    if (this.#broken.delete(requestId)) this.#countBroken(request, -1);
    this.#count(request, -1);
    return request;
  }

  /** A peer is gone, and no route over it will give an answer. Its requests still hold room on the others. */
  breakRoutesOver(peer: PeerId): void {
    if (this.answerable(peer) === 0) return;
    for (const [requestId, request] of this.#requests) {
      const passes = request.hops.some((hop) => hop.peer === peer);
      if (!passes || this.#broken.has(requestId)) continue;
      this.#broken.add(requestId);
      this.#countBroken(request, 1);
    }
  }

  /** A peer is back: of the routes that were broken, those work again whose every hop `isHeld`. */
  mendRoutes(isHeld: (hop: Hop, request: RoutedRequest) => boolean): void {
    for (const requestId of this.#broken) {
      const request = this.#requests.get(requestId);
      if (request?.hops.every((hop) => isHeld(hop, request)) !== true) continue;
      this.#broken.delete(requestId);
      this.#countBroken(request, -1);
    }
  }

  /** Ends those whose time is over: their requesters forgot them, or have no use for an answer any more. */
  endOverdue(nowMs: number): void {
    for (const [requestId, { endsMs }] of this.#requests) if (endsMs <= nowMs) this.end(requestId);
  }

  endAllOf(requester: PeerId): void {
    if (this.countOf(requester) === 0) return;
    for (const [requestId, request] of this.#requests) {
      if (request.requester === requester) this.end(requestId);
    }
  }

  #count({ requester, hops, tokens }: RoutedRequest, change: 1 | -1): void {
    const count = this.countOf(requester) + change;
    if (count === 0) this.#counts.delete(requester);
    else this.#counts.set(requester, count);
    for (const { peer } of hops) {
      const load = this.#loads.get(peer) ?? { requests: 0, broken: 0, tokens: 0 };
      load.requests += change;
      load.tokens += change * tokens;
      if (load.requests === 0) this.#loads.delete(peer);
      else this.#loads.set(peer, load);
    }
  }

  #countBroken({ hops }: RoutedRequest, change: 1 | -1): void {
    for (const { peer } of hops) {
      const load = this.#loads.get(peer);
      if (load !== undefined) load.broken += change;
    }
  }
}
