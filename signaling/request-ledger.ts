import type { PeerId, RequestId } from '../src/protocol/ids.ts';
import type { Hop } from '../src/protocol/route.ts';

interface RoutedRequest {
  readonly requester: PeerId;
  readonly hops: readonly Hop[];
}

/** Who computes what for whom right now: counted when a route is handed out, until the request ends. */
export class RequestLedger {
  readonly #requests = new Map<RequestId, RoutedRequest>();
  readonly #inFlight = new Map<PeerId, number>();

  get size(): number {
    return this.#requests.size;
  }

  /** Requests whose route passes this peer. */
  inFlight(peer: PeerId): number {
    return this.#inFlight.get(peer) ?? 0;
  }

  requester(requestId: RequestId): PeerId | null {
    return this.#requests.get(requestId)?.requester ?? null;
  }

  countOf(requester: PeerId): number {
    let count = 0;
    for (const request of this.#requests.values()) if (request.requester === requester) count += 1;
    return count;
  }

  /** A request has one route at a time: a new one takes the place of the old. */
  start(requestId: RequestId, requester: PeerId, hops: readonly Hop[]): void {
    this.end(requestId);
    this.#requests.set(requestId, { requester, hops });
    this.#add(hops, 1);
  }

  /** Unknown ids are ignored: ending twice is safe. */
  end(requestId: RequestId): void {
    const request = this.#requests.get(requestId);
    if (request === undefined) return;
    this.#requests.delete(requestId);
    this.#add(request.hops, -1);
  }

  endAllOf(requester: PeerId): void {
    for (const [requestId, request] of this.#requests) {
      if (request.requester === requester) this.end(requestId);
    }
  }

  #add(hops: readonly Hop[], change: 1 | -1): void {
    for (const { peer } of hops) {
      const count = this.inFlight(peer) + change;
      if (count === 0) this.#inFlight.delete(peer);
      else this.#inFlight.set(peer, count);
    }
  }
}
