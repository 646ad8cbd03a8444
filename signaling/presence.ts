import { SkeinError } from '../src/protocol/errors.ts';
import type { ErrorCode } from '../src/protocol/errors.ts';
import type { ModelId, PeerId } from '../src/protocol/ids.ts';
import { SIGNALING_VERSION } from '../src/protocol/signaling.ts';
import type { ClientMessage, IceServer, ModelCard, ServerMessage } from '../src/protocol/signaling.ts';
import { isCovered } from './coverage.ts';
import { MAX_ERROR_CHARACTERS } from './limits.ts';
import { Measurements } from './measurements.ts';
import { Moves } from './moves.ts';
import { Peers, sameSlice, withCached } from './peers.ts';
import { Probing } from './probing.ts';
import { Rebalancing } from './rebalancing.ts';
import { relayed } from './relay.ts';
import { RouteDesk } from './route-desk.ts';
import type { Placement, PlacementInput, Scheduler, SchedulerNode, StagePolicy } from './scheduler/types.ts';

export type PresenceEvent =
  | { readonly type: 'connected'; readonly peer: PeerId }
  | { readonly type: 'message'; readonly peer: PeerId; readonly message: ClientMessage }
  /** A ping to the peer came back after so long. */
  | { readonly type: 'round-trip'; readonly peer: PeerId; readonly seconds: number }
  /** The socket closed; of a peer that crashed this is all there is. */
  | { readonly type: 'disconnected'; readonly peer: PeerId }
  /** Time has passed. To come every second or so: what waits for time is looked at then. */
  | { readonly type: 'tick' };

/** What the outside has to do after an event, in order. */
export type Effect =
  | { readonly type: 'send'; readonly to: PeerId; readonly message: ServerMessage }
  /** Everybody who said hello is to get `mesh()` soon. */
  | { readonly type: 'mesh-changed' }
  | { readonly type: 'close'; readonly peer: PeerId; readonly reason: string }
  | { readonly type: 'log'; readonly line: string }
  /** A fault of this program's, for the operator; what was decided before it is among the effects all the same. */
  | { readonly type: 'fault'; readonly error: SkeinError };

export interface PresenceOptions {
  readonly models: readonly ModelCard[];
  readonly stages: StagePolicy;
  readonly scheduler: Scheduler;
  readonly iceServers: readonly IceServer[];
  /** Milliseconds, monotonic. Looked at once per event. */
  readonly now: () => number;
}

type Message<Type extends ClientMessage['type']> = Extract<ClientMessage, { type: Type }>;

/**
 * Who is here, who holds what, and who computes for whom. Does no I/O and has no timer: events go in, effects come out,
 * and the time is asked for. The server and the simulator drive the same one.
 */
export class Presence {
  readonly #options: PresenceOptions;
  readonly #peers = new Peers();
  readonly #measurements: Measurements;
  readonly #moves: Moves;
  readonly #rebalancing: Rebalancing;
  readonly #probing: Probing;
  readonly #desk: RouteDesk;
  /** Of the last ping to each peer that came back; known before it joins. */
  readonly #serverRttSeconds = new Map<PeerId, number>();
  #missing: ReadonlyMap<ModelId, string> = new Map();
  #nowMs: number;
  #effects: Effect[] = [];

  constructor(options: PresenceOptions) {
    const { models, scheduler } = options;
    this.#options = options;
    this.#nowMs = options.now();
    this.#rebalancing = new Rebalancing(this.#peers, this.#nowMs);
    this.#measurements = new Measurements(models);
    this.#moves = new Moves({
      models,
      peers: this.#peers,
      answerable: (peer) => this.#desk.answerable(peer),
      assign: (peer, slice) =>
        this.#send(peer, slice === null ? { type: 'unassign' } : { type: 'assign', ...slice }),
    });
    this.#probing = new Probing({
      peers: this.#peers,
      measurements: this.#measurements,
      send: (to, message) => this.#send(to, message),
    });
    this.#desk = new RouteDesk({
      models,
      scheduler,
      peers: this.#peers,
      measurements: this.#measurements,
      missing: () => this.#missing,
      send: (to, message) => this.#send(to, message),
    });
    this.#place();
    this.#effects = [];
  }

  handle(event: PresenceEvent): readonly Effect[] {
    this.#effects = [];
    this.#nowMs = this.#options.now();
    const { version } = this.#peers;
    try {
      this.#take(event);
      this.#followUp(event);
    } catch (thrown) {
      this.#effects.push({ type: 'fault', error: SkeinError.from(thrown) });
    }
    if (this.#peers.version !== version) this.#effects.push({ type: 'mesh-changed' });
    return this.#effects;
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
    return this.#options.models
      .filter((card) => isCovered(card.layerCount, this.#peers.serving(card.id)))
      .map((card) => card.id);
  }

  /** Requests that hold a route. */
  get requestCount(): number {
    return this.#desk.requestCount;
  }

  /** Requests whose route passes this peer. */
  inFlight(peer: PeerId): number {
    return this.#desk.inFlight(peer);
  }

  /** Requests that wait for room. */
  get queuedCount(): number {
    return this.#desk.queuedCount;
  }

  #followUp(event: PresenceEvent): void {
    if (mayMakeRoom(event)) {
      this.#moves.advance(this.#nowMs);
      this.#desk.serve(this.#nowMs);
    }
    if (event.type === 'tick') this.#desk.tellPlaces(this.#nowMs);
  }

  #take(event: PresenceEvent): void {
    switch (event.type) {
      case 'connected':
        this.#peers.set(event.peer, { kind: 'stranger' });
        break;
      case 'message':
        this.#receive(event.peer, event.message);
        break;
      case 'round-trip':
        this.#serverRttSeconds.set(event.peer, event.seconds);
        this.#measurements.serverRoundTrip(event.peer, event.seconds, this.#nowMs);
        break;
      case 'disconnected':
        this.#disconnect(event.peer);
        break;
      case 'tick':
        this.#giveUpHung();
        this.#rebalance();
        this.#probing.ask(this.#nowMs);
        break;
    }
  }

  #receive(peer: PeerId, message: ClientMessage): void {
    if (message.type === 'hello') this.#hello(peer, message);
    else if (this.#peers.isGreeted(peer)) this.#receiveGreeted(peer, message);
    else this.#refuse(peer, 'bad-message', `"${message.type}" came before "hello". Say hello first.`);
  }

  #receiveGreeted(peer: PeerId, message: Exclude<ClientMessage, { type: 'hello' }>): void {
    switch (message.type) {
      case 'join':
        this.#join(peer, message);
        break;
      case 'report':
        this.#report(peer, message);
        break;
      case 'serving':
        this.#serving(peer, message);
        break;
      case 'load-failed':
        this.#log(`${peer} could not load its slice: ${message.error.message}`);
        this.#leave(peer);
        break;
      case 'leave':
        this.#leave(peer);
        break;
      case 'route-request':
        this.#desk.ask(peer, message, this.#nowMs);
        break;
      case 'route-end':
        this.#desk.end(peer, message.requestId, message.outcome, this.#nowMs);
        break;
      case 'signal':
        this.#relay(peer, message);
        break;
      case 'reloading':
      case 'present':
      case 'route-resume':
      case 'suspect':
        break;
    }
  }

  #hello(peer: PeerId, { version }: Message<'hello'>): void {
    if (this.#peers.isGreeted(peer)) {
      this.#refuse(peer, 'bad-message', 'A second "hello" came over the same socket.');
      return;
    }
    if (version !== SIGNALING_VERSION) {
      const reason = `This server speaks signaling version ${SIGNALING_VERSION}, not ${version}. Reload the page.`;
      this.#refuse(peer, 'bad-message', reason);
      this.#effects.push({ type: 'close', peer, reason: 'signaling version' });
      return;
    }
    this.#peers.set(peer, { kind: 'visitor' });
    const { models, iceServers } = this.#options;
    this.#send(peer, {
      type: 'welcome',
      version: SIGNALING_VERSION,
      peer,
      models: [...models],
      iceServers: [...iceServers],
    });
    this.#send(peer, this.mesh());
  }

  /** Joining again tells a new capability; a slice that still fits stays. */
  #join(peer: PeerId, { capability, cached }: Message<'join'>): void {
    const standing = this.#peers.lender(peer);
    const lent = { capability, cached, abandoned: standing?.lent.abandoned ?? [] };
    this.#measurements.joined(peer, capability, this.#nowMs);
    const serverRttSeconds = this.#serverRttSeconds.get(peer);
    if (serverRttSeconds !== undefined) {
      this.#measurements.serverRoundTrip(peer, serverRttSeconds, this.#nowMs);
    }
    this.#peers.set(peer, standing === null ? { kind: 'waiting', lent } : { ...standing, lent });
    this.#log(`${peer} lends ${capability.adapter}`);
    this.#place();
    this.#probing.ask(this.#nowMs);
  }

  /** What a peer says of a slice that it no longer holds is of no use; its links are where they were. */
  #report(peer: PeerId, { stage, links }: Message<'report'>): void {
    const standing = this.#peers.lender(peer);
    if (standing === null) return;
    const isOfSlice = stage !== null && 'slice' in standing && sameSlice(standing.slice, stage);
    this.#measurements.reported(peer, { stage: isOfSlice ? stage : null, links }, this.#nowMs);
  }

  #serving(peer: PeerId, message: Message<'serving'>): void {
    const standing = this.#peers.lender(peer);
    if (standing !== null && 'slice' in standing && sameSlice(standing.slice, message)) {
      const { lent, slice } = standing;
      if (standing.kind === 'loading') this.#peers.set(peer, { kind: 'serving', lent, slice, move: null });
    } else if (standing?.lent.abandoned.some((slice) => sameSlice(slice, message)) !== true) {
      this.#refuse(
        peer,
        'bad-argument',
        `Layers [${message.layerStart}, ${message.layerEnd}) of ${message.model} are not assigned to this peer.`,
      );
    }
  }

  /**
   * Out of new routes at once; requests that it has are its own to finish. A peer that failed to load is not tried again
   * before it joins again.
   */
  #leave(peer: PeerId): void {
    if (this.#peers.lender(peer) === null) return;
    this.#withdraw([peer]);
  }

  /** Their slices go to others, all in one placement: none to another of them. */
  #withdraw(lenders: readonly PeerId[]): void {
    for (const peer of lenders) {
      this.#peers.set(peer, { kind: 'visitor' });
      this.#measurements.left(peer);
      this.#probing.forget(peer);
      this.#rebalancing.forget(peer);
    }
    this.#moves.takeBack();
    this.#place();
  }

  /**
   * Those that load for too long count as failed to load. Should one of them wake up after all, it frees what it has, and
   * tells its person why.
   */
  #giveUpHung(): void {
    const hung = this.#moves.overdue(this.#nowMs);
    if (hung.length === 0) return;
    for (const { peer, slice, limitMs } of hung) {
      const layers = `layers [${slice.layerStart}, ${slice.layerEnd}) of ${slice.model}`;
      const minutes = Math.round(limitMs / 60_000);
      this.#log(`${peer} did not load ${layers} within ${minutes} minutes`);
      this.#send(peer, { type: 'unassign' });
      const words = `This device did not load ${layers} within ${minutes} minutes, so others were given them. Start again to lend it.`;
      this.#refuse(peer, 'timeout', words);
    }
    this.#withdraw(hung.map(({ peer }) => peer));
  }

  #disconnect(peer: PeerId): void {
    this.#desk.endAllOf(peer);
    this.#desk.breakRoutesOver(peer);
    this.#serverRttSeconds.delete(peer);
    try {
      this.#leave(peer);
    } finally {
      this.#peers.remove(peer);
    }
  }

  #relay(peer: PeerId, signal: Message<'signal'>): void {
    const { to, message } = relayed(peer, signal, (other) => this.#peers.isGreeted(other));
    this.#send(to, message);
  }

  #place(): void {
    this.#adopt(this.#options.scheduler.place(this.#placementInput()));
  }

  #rebalance(): void {
    if (!this.#rebalancing.takeTurn(this.#nowMs)) return;
    const busyShares = new Map(
      this.#peers
        .lenders()
        .filter(([, { kind }]) => kind === 'serving')
        .map(([peer]) => [peer, this.#measurements.busyShare(peer, this.#nowMs)] as const),
    );
    const isServed = this.#options.models.some(({ id, layerCount }) =>
      isCovered(layerCount, this.#peers.serving(id)),
    );
    const input = { ...this.#placementInput(), busyShares, isServed };
    const placement = this.#options.scheduler.rebalance(input);
    const restrained =
      placement === null ? null : this.#rebalancing.restrain(placement, this.#nowMs, isServed);
    if (restrained !== null) this.#adopt(restrained);
  }

  #adopt({ assignments, missing, why }: Placement): void {
    this.#missing = missing;
    this.#moves.aimFor(assignments, this.#nowMs);
    for (const line of why) this.#log(line);
  }

  #placementInput(): PlacementInput {
    const { models, stages } = this.#options;
    const measured = this.#measurements;
    // First, because regions are indices into it.
    const network = measured.network(this.#nowMs);
    const nodes = this.#peers.lenders().map(([peer, standing]): SchedulerNode => {
      const holds = standing.kind === 'serving' || standing.kind === 'draining';
      const { cached } = holds ? withCached(standing.lent, standing.slice) : standing.lent;
      return { peer, capability: measured.capability(peer), region: measured.region(peer), cached };
    });
    return { models, nodes, current: this.#peers.assignments(), stages, network };
  }

  #send(to: PeerId, message: ServerMessage): void {
    this.#effects.push({ type: 'send', to, message });
  }

  #refuse(peer: PeerId, code: ErrorCode, words: string): void {
    const error = new SkeinError(code, words.slice(0, MAX_ERROR_CHARACTERS));
    this.#send(peer, { type: 'error', error: error.toShape() });
  }

  #log(line: string): void {
    this.#effects.push({ type: 'log', line });
  }
}

/** Not after what leaves everything as it is; those come most often. */
function mayMakeRoom(event: PresenceEvent): boolean {
  if (event.type === 'connected' || event.type === 'round-trip') return false;
  return event.type !== 'message' || !['hello', 'signal', 'report'].includes(event.message.type);
}
