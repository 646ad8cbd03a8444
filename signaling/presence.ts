import { randomInt } from 'node:crypto';
import { SkeinError } from '../src/protocol/errors.ts';
import type { ModelId, PeerId } from '../src/protocol/ids.ts';
import type { ClientMessage, ModelCard, ServerMessage, SliceName } from '../src/protocol/signaling.ts';
import { isCovered } from './coverage.ts';
import { Greeting } from './greeting.ts';
import type { GreetingOptions } from './greeting.ts';
import { Lending } from './lending.ts';
import { Measurements } from './measurements.ts';
import { Moves } from './moves.ts';
import { OfferedModels } from './offered-models.ts';
import { Outbox } from './outbox.ts';
import type { Effect } from './outbox.ts';
import { Peers } from './peers.ts';
import { Placing } from './placing.ts';
import { Probing } from './probing.ts';
import { Rebalancing } from './rebalancing.ts';
import { relayed } from './relay.ts';
import { RouteDesk } from './route-desk.ts';
import type { Scheduler, StagePolicy } from './scheduler/types.ts';
import { Settling } from './settling.ts';
import { Suspicion } from './suspicion.ts';

export type { Effect } from './outbox.ts';

export type PresenceEvent =
  | {
      readonly type: 'connected';
      readonly peer: PeerId;
      /** It showed that it had this id before its connection broke. */
      readonly isResumed?: boolean;
      /** Whom it counts as when it accuses others: the same for all who may be one person. By default itself. */
      readonly accuser?: string;
    }
  | { readonly type: 'message'; readonly peer: PeerId; readonly message: ClientMessage }
  /** A ping to the peer came back after so long. */
  | { readonly type: 'round-trip'; readonly peer: PeerId; readonly seconds: number }
  /** The socket closed; of a peer that crashed this is all there is. */
  | { readonly type: 'disconnected'; readonly peer: PeerId }
  /** The operator offers one more; there must be none of its id. */
  | { readonly type: 'model-added'; readonly card: ModelCard }
  /** The operator takes one away: what is under way is finished, within so long, and then its layers are given up. */
  | { readonly type: 'model-drained'; readonly model: ModelId; readonly limitMs: number }
  /** Time has passed. To come every second or so: what waits for time is looked at then. */
  | { readonly type: 'tick' };

export interface PresenceOptions extends GreetingOptions {
  /** Offered from the start. */
  readonly models: readonly ModelCard[];
  readonly stages: StagePolicy;
  readonly scheduler: Scheduler;
  /** Milliseconds, monotonic. Looked at once per event. */
  readonly now: () => number;
  /** A number that cannot be guessed, up to 2^32. */
  readonly newNonce?: () => number;
  /** Whether this is the server's own gateway, which asks for many; nobody by default. */
  readonly isGateway?: (peer: PeerId) => boolean;
}

/** A stage, and how much of the last half minute it computed. */
export interface StageLoad extends SliceName {
  readonly peer: PeerId;
  /** 0 to 1. */
  readonly busyShare: number;
}

const NONCE_RANGE = 2 ** 32;

/**
 * Who is here, who holds what, and who computes for whom. Does no I/O and has no timer: events go in, effects come out,
 * and the time is asked for. The server and the simulator drive the same one.
 */
export class Presence {
  readonly #options: PresenceOptions;
  readonly #models: OfferedModels;
  readonly #peers = new Peers();
  readonly #outbox = new Outbox();
  readonly #moves: Moves;
  readonly #probing: Probing;
  readonly #placing: Placing;
  readonly #greeting: Greeting;
  readonly #lending: Lending;
  readonly #desk: RouteDesk;
  readonly #suspicion: Suspicion;
  readonly #measurements: Measurements;
  #nowMs: number;

  constructor(options: PresenceOptions) {
    const { stages, scheduler } = options;
    this.#models = new OfferedModels(options.models);
    const models = this.#models.cards;
    this.#options = options;
    this.#nowMs = options.now();
    const peers = this.#peers;
    const outbox = this.#outbox;
    const send = (to: PeerId, message: ServerMessage) => outbox.send(to, message);
    const measurements = new Measurements(models);
    this.#measurements = measurements;
    const rebalancing = new Rebalancing(peers, this.#nowMs);
    const settling = new Settling(this.#nowMs);
    this.#probing = new Probing({ peers, measurements, send });
    this.#moves = new Moves({
      models,
      peers,
      // Who was lost a moment ago may be back before anybody notices.
      answerable: (peer) =>
        settling.holdsMoves(this.#nowMs) ? this.#desk.inFlight(peer) : this.#desk.answerable(peer),
      assign: (peer, slice, turn) => {
        const assign = slice && { type: 'assign' as const, ...slice, ...(turn !== null && { turn }) };
        send(peer, assign ?? { type: 'unassign' });
      },
    });
    const log = (line: string) => outbox.log(line);
    const moves = this.#moves;
    this.#placing = new Placing({
      models,
      stages,
      scheduler,
      peers,
      measurements,
      moves,
      rebalancing,
      settling,
      log,
    });
    this.#suspicion = new Suspicion({
      peers,
      outbox,
      isHopOf: (peer, requester, requestId) => this.#desk.isHopOf(peer, requester, requestId),
      onSuspect: (peer, words) => this.#lending.suspect(peer, words, this.#nowMs),
      onCleared: (peer) => this.#lending.clear(peer, this.#nowMs),
      onDead: (peer) => this.#cut(peer),
      newNonce: options.newNonce ?? (() => randomInt(NONCE_RANGE)),
    });
    this.#greeting = new Greeting(
      { options, models: this.#models, peers, settling, outbox, mesh: () => this.mesh() },
      this.#nowMs,
    );
    this.#lending = new Lending({
      models,
      peers,
      measurements,
      moves,
      placing: this.#placing,
      probing: this.#probing,
      rebalancing,
      settling,
      outbox,
      suspicionOf: (peer) => this.#suspicion.wordsOf(peer),
      onReturned: () => this.#desk.countReturned(this.#nowMs),
    });
    this.#desk = new RouteDesk({
      models: this.#models,
      scheduler,
      peers,
      measurements,
      missing: () => this.#placing.missing,
      avoidedBy: (requester) => this.#suspicion.avoidedBy(requester, this.#nowMs),
      ...(options.isGateway && { isGateway: options.isGateway }),
      send,
    });
    this.#placing.place(this.#nowMs);
    outbox.take();
  }

  handle(event: PresenceEvent): readonly Effect[] {
    this.#outbox.take();
    this.#nowMs = this.#options.now();
    const { version } = this.#peers;
    try {
      this.#take(event);
      this.#followUp(event);
    } catch (thrown) {
      this.#outbox.add({ type: 'fault', error: SkeinError.from(thrown) });
    }
    if (this.#peers.version !== version) this.#outbox.add({ type: 'mesh-changed' });
    return this.#outbox.take();
  }

  /** Who holds what, as every page sees it. */
  mesh(): Extract<ServerMessage, { type: 'mesh' }> {
    return { type: 'mesh', members: this.#peers.members(), covered: this.covered() };
  }

  greeted(): readonly PeerId[] {
    return this.#peers.greeted();
  }

  isGreeted(peer: PeerId): boolean {
    return this.#peers.isGreeted(peer);
  }

  /** Models with a serving peer for every layer. */
  covered(): ModelId[] {
    return this.#models.cards
      .filter((card) => isCovered(card.layerCount, this.#peers.serving(card.id)))
      .map((card) => card.id);
  }

  /** All models that are computed here, as peers are told of them. */
  models(): readonly ModelCard[] {
    return this.#models.told();
  }

  /** Requests on a model that hold a route, or wait for another. */
  requestsOn(model: ModelId): number {
    return this.#desk.countOn(model);
  }

  /** Requests that hold a route. */
  get requestCount(): number {
    return this.#desk.requestCount;
  }

  /** Requests whose route passes this peer. */
  inFlight(peer: PeerId): number {
    return this.#desk.inFlight(peer);
  }

  /** What each stage computed of late, as far as it is known. */
  stageLoads(): StageLoad[] {
    return this.#peers.members().flatMap(({ peer, model, layerStart, layerEnd, state }) => {
      if (state !== 'serving') return [];
      const busyShare = this.#measurements.busyShare(peer, this.#nowMs);
      return [{ peer, model, layerStart, layerEnd, busyShare }];
    });
  }

  /** Requests that wait for room. */
  get queuedCount(): number {
    return this.#desk.queuedCount;
  }

  #followUp(event: PresenceEvent): void {
    this.#removeDrained();
    if (mayMakeRoom(event)) {
      this.#moves.advance(this.#nowMs);
      this.#desk.serve(this.#nowMs);
    }
    if (event.type === 'tick') this.#desk.tellPlaces(this.#nowMs);
  }

  #take(event: PresenceEvent): void {
    switch (event.type) {
      case 'connected':
        this.#peers.set(event.peer, { kind: 'stranger', isResumed: event.isResumed ?? false });
        this.#suspicion.connected(event.peer, event.accuser ?? event.peer);
        break;
      case 'message':
        this.#receive(event.peer, event.message);
        break;
      case 'round-trip':
        this.#lending.roundTrip(event.peer, event.seconds, this.#nowMs);
        break;
      case 'disconnected':
        this.#disconnect(event.peer);
        break;
      case 'model-added':
        this.#models.add(event.card);
        this.#outbox.log(`${event.card.id} is offered`);
        this.#greeting.tellModels();
        this.#placing.place(this.#nowMs);
        break;
      case 'model-drained':
        this.#models.drain(event.model, this.#nowMs + event.limitMs);
        this.#outbox.log(`${event.model} takes no new requests: it is being removed`);
        this.#desk.dismissNew(event.model);
        this.#greeting.tellModels();
        break;
      case 'tick':
        this.#lending.giveUpHung(this.#nowMs);
        this.#suspicion.advance(this.#nowMs);
        this.#placing.advance(this.#nowMs);
        this.#probing.ask(this.#nowMs);
        this.#greeting.advance(this.#nowMs);
        break;
    }
  }

  /** Peers that held layers of it are told to free them, or what to load instead, by the placement without it. */
  #removeDrained(): void {
    for (const [model, endsMs] of this.#models.draining()) {
      const left = this.#desk.countOn(model);
      if (left > 0 && this.#nowMs < endsMs) continue;
      this.#desk.forget(model);
      this.#models.remove(model);
      this.#outbox.log(`${model} is removed${left === 0 ? '' : `, with ${left} requests on it`}`);
      this.#outbox.add({ type: 'model-removed', model });
      this.#greeting.tellModels();
      this.#placing.place(this.#nowMs);
    }
  }

  #receive(peer: PeerId, message: ClientMessage): void {
    if (message.type === 'hello') this.#greeting.hello(peer, message, this.#nowMs);
    else if (this.#peers.isGreeted(peer)) this.#receiveGreeted(peer, message);
    else this.#outbox.refuse(peer, 'bad-message', `"${message.type}" came before "hello". Say hello first.`);
  }

  #receiveGreeted(peer: PeerId, message: Exclude<ClientMessage, { type: 'hello' }>): void {
    const nowMs = this.#nowMs;
    switch (message.type) {
      case 'join':
        this.#lending.join(peer, message, nowMs);
        break;
      case 'report':
        this.#lending.report(peer, message, nowMs);
        break;
      case 'serving':
        this.#lending.serving(peer, message);
        break;
      case 'reloading':
        this.#suspicion.present(peer, null);
        this.#lending.reloading(peer, message, nowMs);
        break;
      case 'load-failed':
        this.#lending.loadFailed(peer, message, nowMs);
        break;
      case 'leave':
        this.#suspicion.present(peer, null);
        this.#lending.leave(peer, nowMs);
        break;
      case 'present':
        this.#suspicion.present(peer, message.nonce);
        break;
      case 'route-request':
        this.#desk.ask(peer, message, nowMs);
        break;
      case 'route-resume':
        if (this.#peers.isBack(peer, nowMs)) this.#desk.resume(peer, message, nowMs);
        break;
      case 'route-end':
        this.#desk.end(peer, message.requestId, message.outcome, nowMs);
        break;
      case 'suspect':
        this.#suspicion.suspect(peer, message, nowMs);
        break;
      case 'signal':
        this.#relay(peer, message);
        break;
    }
  }

  #disconnect(peer: PeerId): void {
    this.#desk.endAllOf(peer);
    this.#desk.breakRoutesOver(peer);
    this.#suspicion.disconnected(peer);
    this.#lending.disconnected(peer, this.#nowMs);
  }

  #cut(peer: PeerId): void {
    if (this.#peers.get(peer) === undefined) return;
    this.#outbox.add({ type: 'cut', peer, reason: 'gave no sign of life' });
    this.#disconnect(peer);
  }

  #relay(peer: PeerId, signal: Extract<ClientMessage, { type: 'signal' }>): void {
    const { to, message } = relayed(peer, signal, (other) => this.#peers.isGreeted(other));
    this.#outbox.send(to, message);
  }
}

/** Not after what leaves everything as it is; those come most often. */
function mayMakeRoom(event: PresenceEvent): boolean {
  if (event.type === 'connected' || event.type === 'round-trip') return false;
  const idle: readonly ClientMessage['type'][] = ['hello', 'signal', 'report', 'present'];
  return event.type !== 'message' || !idle.includes(event.message.type);
}
