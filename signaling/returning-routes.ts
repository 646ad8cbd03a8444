import type { ModelId, PeerId, RequestId } from '../src/protocol/ids.ts';
import type { Hop } from '../src/protocol/route.ts';
import { MAX_RETURNING_REQUESTS, RESUME_WORD_MS } from './limits.ts';
import type { Peers } from './peers.ts';
import type { RequestLedger, RoutedRequest } from './request-ledger.ts';

/** Routes from before a restart, or a broken connection, that are to be counted once all their hops are here again. */
export class ReturningRoutes {
  readonly #peers: Peers;
  readonly #ledger: RequestLedger;
  readonly #routes = new Map<RequestId, RoutedRequest>();

  constructor(peers: Peers, ledger: RequestLedger) {
    this.#peers = peers;
    this.#ledger = ledger;
  }

  get(requestId: RequestId): RoutedRequest | null {
    return this.#routes.get(requestId) ?? null;
  }

  countOf(requester: PeerId): number {
    let count = 0;
    for (const route of this.#routes.values()) if (route.requester === requester) count += 1;
    return count;
  }

  countOn(model: ModelId): number {
    let count = 0;
    for (const route of this.#routes.values()) if (route.model === model) count += 1;
    return count;
  }

  removeAllOn(model: ModelId): void {
    for (const [requestId, route] of this.#routes) if (route.model === model) this.#routes.delete(requestId);
  }

  /** One too many is not taken: its load is not counted, and nothing else follows from that. */
  add(requestId: RequestId, request: RoutedRequest): void {
    if (this.#routes.size < MAX_RETURNING_REQUESTS) this.#routes.set(requestId, request);
  }

  remove(requestId: RequestId): void {
    this.#routes.delete(requestId);
  }

  removeAllOf(requester: PeerId): void {
    for (const [requestId, route] of this.#routes) {
      if (route.requester === requester) this.#routes.delete(requestId);
    }
  }

  /** Counts those that are whole, and again those that were broken; forgets those that never came to be. */
  settle(nowMs: number): void {
    const isHeld = (hop: Hop, { model }: RoutedRequest) => this.#peers.holds(hop.peer, { model, ...hop });
    for (const [requestId, request] of this.#routes) {
      if (request.hops.every((hop) => isHeld(hop, request))) this.#ledger.start(requestId, request);
      else if (nowMs - request.startedMs < RESUME_WORD_MS) continue;
      this.#routes.delete(requestId);
    }
    this.#ledger.mendRoutes(isHeld);
  }
}
