import type { ModelId, PeerId } from '../src/protocol/ids.ts';
import type { Hop } from '../src/protocol/route.ts';
import type { ModelCard } from '../src/protocol/signaling.ts';
import type { Measurements } from './measurements.ts';
import type { Peers } from './peers.ts';
import type { RequestLedger } from './request-ledger.ts';
import type { QueuedRequest } from './route-queue.ts';
import type { RouteDecision, Scheduler } from './scheduler/types.ts';
import { ServingMembers } from './serving-members.ts';

export interface RouteFinderDeps {
  readonly scheduler: Scheduler;
  readonly peers: Peers;
  readonly measurements: Measurements;
  /** Peers that failed this requester a short while ago: its routes lead over others, where there are others. */
  readonly avoidedBy: (requester: PeerId) => readonly PeerId[];
}

/** Of those that a route avoids: more are not tried one by one where there is none without all of them. */
const MAX_AVOIDED_SINGLY = 8;

/** Asks the scheduler for routes, with what is known of the mesh and of who asks. */
export class RouteFinder {
  readonly #deps: RouteFinderDeps;
  readonly #members: ServingMembers;
  /** The hops of each requester's last request on each model, which may still have its prefix. */
  readonly #lastHops = new Map<PeerId, Map<ModelId, readonly Hop[]>>();

  constructor(deps: RouteFinderDeps, ledger: RequestLedger) {
    this.#deps = deps;
    this.#members = new ServingMembers(deps.peers, deps.measurements, ledger);
  }

  /**
   * @param card of the model that is asked for.
   * @param exclude instead of the peers that the request excludes itself.
   */
  find(
    card: ModelCard,
    { requester, request, had }: QueuedRequest,
    nowMs: number,
    exclude = request.exclude,
  ): RouteDecision {
    const { scheduler, measurements, peers, avoidedBy } = this.#deps;
    const input = {
      card,
      members: this.#members.of(card, nowMs),
      exclude: new Set(exclude),
      network: measurements.network(nowMs),
      requesterRegion: peers.lender(requester) === null ? null : measurements.region(requester),
      tokens: request.tokens,
      previous: had ?? this.#lastHops.get(requester)?.get(card.id) ?? [],
    };
    const without = (others: readonly PeerId[]) =>
      scheduler.findRoute({ ...input, exclude: new Set([...exclude, ...others]) });
    const avoided = avoidedBy(requester);
    return (avoided.length > 0 ? routeWithout(avoided, without) : null) ?? without([]);
  }

  /** The requester has this route on the model. */
  remember(requester: PeerId, model: ModelId, hops: readonly Hop[]): void {
    const known = this.#lastHops.get(requester);
    if (known === undefined) this.#lastHops.set(requester, new Map([[model, hops]]));
    else known.set(model, hops);
  }

  forget(requester: PeerId): void {
    this.#lastHops.delete(requester);
  }
}

/** A route without all of them, or else without as many as there are others for, those first that were avoided last; null when there is none. */
function routeWithout(
  avoided: readonly PeerId[],
  find: (without: readonly PeerId[]) => RouteDecision,
): RouteDecision | null {
  const withoutAll = find(avoided);
  if (withoutAll.kind === 'route') return withoutAll;
  if (avoided.length === 1) return null;
  let found: RouteDecision | null = null;
  let without: readonly PeerId[] = [];
  for (const peer of avoided.slice(-MAX_AVOIDED_SINGLY).reverse()) {
    const decision = find([...without, peer]);
    if (decision.kind === 'route') [found, without] = [decision, [...without, peer]];
  }
  return found;
}
