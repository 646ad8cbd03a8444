import { SkeinError } from '../src/protocol/errors.ts';
import type { ModelId, PeerId, RequestId } from '../src/protocol/ids.ts';
import { CACHE_RESERVE_TOKENS } from '../src/protocol/limits.ts';
import type { Hop } from '../src/protocol/route.ts';
import type { ClientMessage, ModelCard, ServerMessage } from '../src/protocol/signaling.ts';
import { MAX_REQUESTS_PER_PEER } from './limits.ts';
import { noRouteError } from './no-route.ts';
import type { Peers } from './peers.ts';
import { RequestLedger } from './request-ledger.ts';
import { ONE_REGION } from './scheduler/network.ts';
import type { Scheduler } from './scheduler/types.ts';

type RouteRequest = Extract<ClientMessage, { type: 'route-request' }>;

/** Hands out routes and counts what runs over whom. */
export class RouteDesk {
  readonly #ledger = new RequestLedger();

  constructor(
    readonly models: readonly ModelCard[],
    readonly scheduler: Scheduler,
  ) {}

  get requestCount(): number {
    return this.#ledger.size;
  }

  /**
   * Asking again for the same request gives up its route and takes a new one.
   * @param missing what the scheduler says nobody holds, per model.
   * @returns `route`, or `route-denied` with the reason.
   */
  answer(
    requester: PeerId,
    request: RouteRequest,
    peers: Peers,
    missing: ReadonlyMap<ModelId, string>,
  ): ServerMessage {
    const { requestId, model, epoch } = request;
    try {
      const hops = this.#findHops(requester, request, peers, missing);
      this.#ledger.start(requestId, requester, hops);
      return { type: 'route', route: { requestId, epoch, model, hops: [...hops] } };
    } catch (thrown) {
      return { type: 'route-denied', requestId, error: SkeinError.from(thrown).toShape() };
    }
  }

  /** Only the requester ends its request; anybody else's word is ignored. */
  end(requester: PeerId, requestId: RequestId): void {
    if (this.#ledger.requester(requestId) === requester) this.#ledger.end(requestId);
  }

  endAllOf(requester: PeerId): void {
    this.#ledger.endAllOf(requester);
  }

  #findHops(
    requester: PeerId,
    { requestId, model, exclude, tokens }: RouteRequest,
    peers: Peers,
    missing: ReadonlyMap<ModelId, string>,
  ): readonly Hop[] {
    if ((this.#ledger.requester(requestId) ?? requester) !== requester) {
      throw new SkeinError('bad-argument', `Request id ${requestId} is in use. Choose a random one.`);
    }
    this.#ledger.end(requestId);
    if (this.#ledger.countOf(requester) >= MAX_REQUESTS_PER_PEER) {
      throw new SkeinError('busy', `This peer has ${MAX_REQUESTS_PER_PEER} requests running; end one first.`);
    }
    const card = this.models.find((candidate) => candidate.id === model);
    if (card === undefined) {
      const served = this.models.map((candidate) => candidate.id).join(', ');
      throw new SkeinError('bad-argument', `There is no model ${model} here, only: ${served}.`);
    }
    const excluded = new Set(exclude);
    const members = peers.serving(model).map((member) => ({
      ...member,
      inFlight: this.#ledger.inFlight(member.peer),
      reservedTokens: 0,
      cacheTokens: CACHE_RESERVE_TOKENS,
      pace: 1,
    }));
    const decision = this.scheduler.findRoute({
      card,
      members,
      exclude: excluded,
      network: ONE_REGION,
      requesterRegion: null,
      tokens,
      previous: [],
    });
    if (decision.kind === 'route') return decision.hops;
    throw noRouteError(card, peers.members(), excluded, missing.get(model));
  }
}
