import { SkeinError } from '../src/protocol/errors.ts';
import type { ModelId, PeerId, RequestId } from '../src/protocol/ids.ts';
import type { Hop } from '../src/protocol/route.ts';
import type { ClientMessage, ModelCard, ServerMessage } from '../src/protocol/signaling.ts';
import { maxSequenceTokens } from '../src/protocol/slice-bytes.ts';
import {
  MAX_HELD_ASKED,
  MAX_QUEUED_PER_PEER,
  MAX_QUEUED_REQUESTS,
  MAX_REQUESTS_PER_PEER,
  MAX_RESUMING_REQUESTS,
  OVERTIME_CHECK_MS,
  QUEUE_NOTICE_REPEAT_MS,
  QUEUE_NOTICE_REST_MS,
  ROUTE_GRACE_MS,
} from './limits.ts';
import type { RequestOutcome } from './measurements.ts';
import { noRouteError } from './no-route.ts';
import type { OfferedModels } from './offered-models.ts';
import { RequestLedger } from './request-ledger.ts';
import type { RoutedRequest } from './request-ledger.ts';
import { ReturningRoutes } from './returning-routes.ts';
import { RouteFinder } from './route-finder.ts';
import type { RouteFinderDeps } from './route-finder.ts';
import { RouteQueue } from './route-queue.ts';
import type { Notice, QueuedRequest, RouteRequest } from './route-queue.ts';
import { beingRemoved, checkTokens, overTime, tooMany } from './route-refusals.ts';
import type { RouteDecision } from './scheduler/types.ts';

/** Clocks of requesters run faster or slower than this one's by less. */
const CLOCK_TOLERANCE = 1.01;

type RouteResume = Extract<ClientMessage, { type: 'route-resume' }>;

export interface RouteDeskDeps extends RouteFinderDeps {
  readonly models: OfferedModels;
  /** What the scheduler says nobody holds, per model. */
  readonly missing: () => ReadonlyMap<ModelId, string>;
  /** Whether this is the server's own gateway, which asks for many: it may have as many requests as everybody together. */
  readonly isGateway?: (requester: PeerId) => boolean;
  readonly send: (to: PeerId, message: ServerMessage) => void;
}

/** Hands out routes, counts what runs over whom, and keeps in line who finds no room. */
export class RouteDesk {
  readonly #deps: RouteDeskDeps;
  readonly #ledger = new RequestLedger();
  readonly #queues = new Map<ModelId, RouteQueue>();
  readonly #finder: RouteFinder;
  readonly #returning: ReturningRoutes;
  #checkedOvertimeMs = -Infinity;

  constructor(deps: RouteDeskDeps) {
    this.#deps = deps;
    this.#returning = new ReturningRoutes(deps.peers, this.#ledger);
    this.#finder = new RouteFinder(deps, this.#ledger);
  }

  /** Requests that hold a route. */
  get requestCount(): number {
    return this.#ledger.size;
  }

  /** Requests that wait for one. */
  get queuedCount(): number {
    return this.#sumOfQueues((queue) => queue.length);
  }

  /** Requests whose route passes this peer. */
  inFlight(peer: PeerId): number {
    return this.#ledger.inFlight(peer);
  }

  /** Those of them that can still be answered: nobody on their route is gone. */
  answerable(peer: PeerId): number {
    return this.#ledger.answerable(peer);
  }

  /** Whether the peer is on the route that the request has, waits to have counted, or had before. */
  isHopOf(peer: PeerId, requester: PeerId, requestId: RequestId): boolean {
    const routed = this.#ledger.get(requestId) ?? this.#returning.get(requestId);
    const waiting = this.#waiting(requestId);
    if ((routed ?? waiting)?.requester !== requester) return false;
    const hops = [...(routed?.hops ?? []), ...(routed?.had ?? []), ...(waiting?.had ?? [])];
    return hops.some((hop) => hop.peer === peer);
  }

  /** A peer is gone: nobody needs to wait for what ran over it. */
  breakRoutesOver(peer: PeerId): void {
    this.#ledger.breakRoutesOver(peer);
  }

  /**
   * Answers with `route`, `route-denied` or `route-queued`. Asking again for the same request gives up its route or its
   * place and takes a new one.
   */
  ask(requester: PeerId, request: RouteRequest, nowMs: number): void {
    try {
      const queued = this.#enter(requester, request, nowMs);
      const queue = this.#queueOf(request);
      const decision = this.#decide(queued, nowMs);
      // Who finds others waiting goes behind them, even where there is room at this moment.
      const mustWait = decision.kind === 'full' || (decision.kind === 'route' && this.#goesBehind(queued));
      if (mustWait) this.#enqueue(queue, queued, nowMs);
      else this.#settle(queued, decision, nowMs);
    } catch (thrown) {
      this.#deny(requester, request.requestId, SkeinError.from(thrown));
    }
  }

  /**
   * Takes a route that an earlier server gave, or this one before the requester's connection broke, on the requester's word.
   * It is counted as soon as all its hops are here with those layers.
   */
  resume(requester: PeerId, { route, tokens, timeLimitMs }: RouteResume, nowMs: number): void {
    const { requestId, model, hops } = route;
    const waiting = this.#waiting(requestId);
    const isTaken = waiting !== null || this.#ownerOf(requestId, requester) !== requester;
    const card = this.#deps.models.cards.find(({ id }) => id === model);
    const count = this.#ledger.countOf(requester) + this.#returning.countOf(requester);
    const mayHave = this.#mayHave(requester, count, MAX_REQUESTS_PER_PEER);
    if (isTaken || card === undefined || tokens > maxSequenceTokens(card) || !mayHave) return;
    const endsMs = nowMs + timeLimitMs + ROUTE_GRACE_MS;
    const times = { secondsPerToken: 0, startedMs: nowMs, endsMs };
    this.#returning.add(requestId, { requester, model, hops, had: [], tokens, ...times });
    this.#finder.remember(requester, model, hops);
    this.#returning.settle(nowMs);
  }

  /** Answers that are under way on a model, those that wait for another route included. */
  countOn(model: ModelId): number {
    const queued = this.#queues.get(model)?.length ?? 0;
    return this.#ledger.countOn(model) + this.#returning.countOn(model) + queued;
  }

  /** Denies who waits for a first route on a model that is being removed. */
  dismissNew(model: ModelId): void {
    this.#dismiss(model, ({ had }) => had === null);
  }

  /** A model is removed: who still has a route on it has none any more. */
  forget(model: ModelId): void {
    this.#dismiss(model, () => true);
    this.#queues.delete(model);
    this.#returning.removeAllOn(model);
    this.#ledger.endAllOn(model);
  }

  /** Somebody is back with what it held: routes over it can be counted, and may be whole again. */
  countReturned(nowMs: number): void {
    this.#returning.settle(nowMs);
  }

  /** Only the requester ends its request; anybody else's word is ignored. */
  end(requester: PeerId, requestId: RequestId, outcome: RequestOutcome | undefined, nowMs: number): void {
    for (const queue of this.#queues.values()) {
      if (queue.get(requestId)?.requester === requester) queue.remove(requestId);
    }
    if (this.#returning.get(requestId)?.requester === requester) this.#returning.remove(requestId);
    if (this.#ledger.get(requestId)?.requester !== requester) return;
    const ended = this.#ledger.end(requestId);
    if (ended === null || outcome === undefined || !isPossible(outcome, ended, nowMs)) return;
    this.#deps.measurements.outcome(requester, ended.hops, ended.secondsPerToken, outcome, nowMs);
  }

  endAllOf(requester: PeerId): void {
    this.#ledger.endAllOf(requester);
    this.#finder.forget(requester);
    this.#returning.removeAllOf(requester);
    for (const queue of this.#queues.values()) queue.removeAllOf(requester);
  }

  /**
   * Routes those who wait, in order, as far as there is room; those whose time is over are ended first. To be called after
   * everything that may have made room or taken it away, and as time passes.
   */
  serve(nowMs: number): void {
    this.#endOverdue(nowMs);
    for (const queue of this.#queues.values()) if (queue.length > 0) this.#serveQueue(queue, nowMs);
  }

  /** Tells those who wait their places; not after every change, because each change moves everybody behind it. */
  tellPlaces(nowMs: number): void {
    const pauses = { restMs: QUEUE_NOTICE_REST_MS, repeatMs: QUEUE_NOTICE_REPEAT_MS };
    for (const queue of this.#queues.values()) {
      for (const notice of queue.takeNotices(nowMs, pauses)) this.#tellPlace(notice);
    }
  }

  #dismiss(model: ModelId, isDismissed: (queued: QueuedRequest) => boolean): void {
    const queue = this.#queues.get(model);
    for (const queued of [...(queue?.inOrder() ?? [])].filter(isDismissed)) {
      queue?.remove(queued.request.requestId);
      this.#deny(queued.requester, queued.request.requestId, beingRemoved(model));
    }
  }

  #endOverdue(nowMs: number): void {
    if (nowMs - this.#checkedOvertimeMs < OVERTIME_CHECK_MS) return;
    this.#checkedOvertimeMs = nowMs;
    this.#ledger.endOverdue(nowMs);
    this.#returning.settle(nowMs);
    for (const queue of this.#queues.values()) {
      for (const { requester, request, endsMs } of [...queue.inOrder()]) {
        if (endsMs > nowMs) continue;
        queue.remove(request.requestId);
        this.#deny(requester, request.requestId, overTime(request));
      }
    }
  }

  #serveQueue(queue: RouteQueue, nowMs: number): void {
    const passed = queue.passedOver(MAX_HELD_ASKED);
    let held = 0;
    for (const queued of queue.inOrder()) {
      if (passed.has(queued.request.requestId)) continue;
      const decision = this.#decide(queued, nowMs);
      if (decision.kind === 'full') {
        // Who is held up by nothing but the peers it excludes itself does not hold up the others.
        const { exclude, requestId } = queued.request;
        if (exclude.length === 0 || this.#decide(queued, nowMs, []).kind !== 'route') return;
        queue.holdUp(requestId);
        held += 1;
        if (held > MAX_HELD_ASKED) return;
        continue;
      }
      queue.remove(queued.request.requestId, true);
      this.#settle(queued, decision, nowMs);
    }
  }

  /**
   * Gives up what the request had before. @throws SkeinError `bad-argument` for somebody else's request, a model that is
   * not here or more tokens than stages take, `busy` for too many requests of one peer.
   */
  #enter(requester: PeerId, request: RouteRequest, nowMs: number): QueuedRequest {
    const { requestId } = request;
    const card = this.#cardOf(request.model);
    const waiting = this.#waiting(requestId);
    const returning = this.#returning.get(requestId);
    if (this.#ownerOf(requestId, requester) !== requester) {
      throw new SkeinError('bad-argument', `Request id ${requestId} is in use. Choose a random one.`);
    }
    this.#returning.remove(requestId);
    const had = (this.#ledger.end(requestId) ?? returning)?.hops ?? waiting?.had ?? null;
    const resumes = waiting?.resumes === true || (had !== null && this.#isLost(had, request));
    for (const other of this.#queues.values()) other.remove(requestId);
    if (had === null && this.#deps.models.isDraining(request.model)) throw beingRemoved(request.model);
    checkTokens(request, card);
    const waitingCount = this.#sumOfQueues((queue) => queue.countOf(requester));
    const count = this.#ledger.countOf(requester) + waitingCount;
    if (!this.#mayHave(requester, count, MAX_REQUESTS_PER_PEER)) {
      throw new SkeinError('busy', `This peer has ${MAX_REQUESTS_PER_PEER} requests running; end one first.`);
    }
    return { requester, request, had, resumes, endsMs: nowMs + request.timeLimitMs + ROUTE_GRACE_MS };
  }

  /** Whether one more than `count` may be. */
  #mayHave(requester: PeerId, count: number, most: number): boolean {
    return count < most || this.#deps.isGateway?.(requester) === true;
  }

  /** A hop is gone, or serves something else, or the requester found it dead or wrong. */
  #isLost(hops: readonly Hop[], { model, exclude }: RouteRequest): boolean {
    return hops.some(
      (hop) => exclude.includes(hop.peer) || !this.#deps.peers.holds(hop.peer, { model, ...hop }),
    );
  }

  #waiting(requestId: RequestId): QueuedRequest | null {
    for (const queue of this.#queues.values()) {
      const waiting = queue.get(requestId);
      if (waiting !== null) return waiting;
    }
    return null;
  }

  /** @param otherwise for an id that is not in use. */
  #ownerOf(requestId: RequestId, otherwise: PeerId): PeerId {
    const known = this.#ledger.get(requestId) ?? this.#returning.get(requestId) ?? this.#waiting(requestId);
    return known?.requester ?? otherwise;
  }

  #goesBehind({ request, resumes }: QueuedRequest): boolean {
    for (const first of this.#queueOf(request).inOrder()) return !resumes || first.resumes;
    return false;
  }

  #enqueue(queue: RouteQueue, queued: QueuedRequest, nowMs: number): void {
    const { requester, request, resumes } = queued;
    // Half an answer is not thrown away for new requests that wait.
    const most = resumes ? MAX_RESUMING_REQUESTS : MAX_QUEUED_REQUESTS;
    const waiting = resumes ? this.#sumOfQueues((other) => other.resumingCount) : this.queuedCount;
    if (waiting >= most)
      throw tooMany(request.model, `${waiting} requests wait for room already`, waiting + 1);
    const own = this.#sumOfQueues((other) => other.countOf(requester));
    if (!resumes && !this.#mayHave(requester, own, MAX_QUEUED_PER_PEER)) {
      throw tooMany(request.model, `${own} requests of this peer wait for room already`, waiting + 1);
    }
    queue.add(queued);
    const notice = queue.takeNotice(request.requestId, nowMs);
    if (notice !== null) this.#tellPlace(notice);
  }

  #tellPlace({ requester, requestId, position }: Notice): void {
    this.#deps.send(requester, { type: 'route-queued', requestId, position });
  }

  #settle(queued: QueuedRequest, decision: Exclude<RouteDecision, { kind: 'full' }>, nowMs: number): void {
    const { requester, request, endsMs } = queued;
    const { requestId, epoch, model, tokens } = request;
    if (decision.kind === 'none') {
      this.#deny(requester, requestId, this.#noRoute(request));
      return;
    }
    const { hops, secondsPerToken } = decision;
    const had = queued.had ?? [];
    const times = { secondsPerToken, startedMs: nowMs, endsMs };
    this.#ledger.start(requestId, { requester, model, hops, had, tokens, ...times });
    this.#finder.remember(requester, model, hops);
    this.#deps.send(requester, { type: 'route', route: { requestId, epoch, model, hops: [...hops] } });
  }

  #decide(queued: QueuedRequest, nowMs: number, exclude = queued.request.exclude): RouteDecision {
    return this.#finder.find(this.#cardOf(queued.request.model), queued, nowMs, exclude);
  }

  #noRoute({ model, exclude }: RouteRequest): SkeinError {
    const { peers, missing } = this.#deps;
    return noRouteError(this.#cardOf(model), peers, new Set(exclude), missing().get(model));
  }

  #deny(requester: PeerId, requestId: RequestId, error: SkeinError): void {
    this.#deps.send(requester, { type: 'route-denied', requestId, error: error.toShape() });
  }

  #sumOfQueues(part: (queue: RouteQueue) => number): number {
    let sum = 0;
    for (const queue of this.#queues.values()) sum += part(queue);
    return sum;
  }

  #queueOf({ model }: RouteRequest): RouteQueue {
    const known = this.#queues.get(model);
    if (known !== undefined) return known;
    const queue = new RouteQueue();
    this.#queues.set(model, queue);
    return queue;
  }

  #cardOf(model: ModelId): ModelCard {
    const { cards } = this.#deps.models;
    const card = cards.find(({ id }) => id === model);
    if (card !== undefined) return card;
    const served = cards.map(({ id }) => id).join(', ');
    throw new SkeinError('bad-argument', `There is no model ${model} here, only: ${served}.`);
  }
}

/** Nobody gets more tokens than it asked for, or takes longer than the time there was. */
function isPossible({ tokens, seconds }: RequestOutcome, request: RoutedRequest, nowMs: number): boolean {
  const elapsedSeconds = (nowMs - request.startedMs) / 1000;
  return tokens <= request.tokens && seconds <= elapsedSeconds * CLOCK_TOLERANCE;
}
