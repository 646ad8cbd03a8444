import { SkeinError } from '../src/protocol/errors.ts';
import type { ErrorCode } from '../src/protocol/errors.ts';
import type { ModelId, PeerId } from '../src/protocol/ids.ts';
import { SIGNALING_VERSION } from '../src/protocol/signaling.ts';
import type { ClientMessage, IceServer, ModelCard, ServerMessage } from '../src/protocol/signaling.ts';
import { MAX_ERROR_CHARACTERS, MAX_SIGNAL_CHARACTERS } from './limits.ts';
import { Peers } from './peers.ts';
import { RouteDesk } from './route-desk.ts';
import { bestChain } from './scheduler/chain.ts';
import { ONE_REGION } from './scheduler/network.ts';
import { sameAssignment } from './scheduler/placement.ts';
import type { Scheduler, StagePolicy } from './scheduler/types.ts';

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
  | { readonly type: 'log'; readonly line: string };

export interface PresenceOptions {
  readonly models: readonly ModelCard[];
  readonly stages: StagePolicy;
  readonly scheduler: Scheduler;
  readonly iceServers: readonly IceServer[];
  /** Milliseconds, monotonic. Looked at once per event. */
  readonly now: () => number;
}

type Message<Type extends ClientMessage['type']> = Extract<ClientMessage, { type: Type }>;

/** Who is here, who holds what, and who computes for whom. Does no I/O: events go in, effects come out. */
export class Presence {
  readonly #options: PresenceOptions;
  readonly #peers = new Peers();
  readonly #desk: RouteDesk;
  #missing: ReadonlyMap<ModelId, string> = new Map();
  #effects: Effect[] = [];

  constructor(options: PresenceOptions) {
    this.#options = options;
    this.#desk = new RouteDesk(options.models, options.scheduler);
    this.#place();
    this.#effects = [];
  }

  handle(event: PresenceEvent): readonly Effect[] {
    this.#effects = [];
    switch (event.type) {
      case 'connected':
        this.#peers.set(event.peer, { kind: 'stranger' });
        break;
      case 'message':
        this.#receive(event.peer, event.message);
        break;
      case 'round-trip':
      case 'tick':
        break;
      case 'disconnected':
        this.#desk.endAllOf(event.peer);
        this.#leave(event.peer);
        this.#peers.remove(event.peer);
        break;
    }
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
    const serving = this.#peers.members().filter((member) => member.state === 'serving');
    return this.#options.models
      .filter((card) => {
        const ofModel = serving.filter((member) => member.model === card.id);
        return bestChain(card.layerCount, ofModel).gaps.length === 0;
      })
      .map((card) => card.id);
  }

  get requestCount(): number {
    return this.#desk.requestCount;
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
        this.#send(peer, this.#desk.answer(peer, message, this.#peers, this.#missing));
        break;
      case 'route-end':
        this.#desk.end(peer, message.requestId);
        break;
      case 'signal':
        this.#relay(peer, message);
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
  #join(peer: PeerId, { capability }: Message<'join'>): void {
    const standing = this.#peers.get(peer);
    const joined = standing !== undefined && 'slice' in standing;
    this.#peers.set(peer, joined ? { ...standing, capability } : { kind: 'waiting', capability });
    this.#log(`${peer} lends ${capability.adapter}`);
    this.#place();
  }

  #serving(peer: PeerId, message: Message<'serving'>): void {
    const standing = this.#peers.get(peer);
    if (standing === undefined || !('slice' in standing) || !sameAssignment(standing.slice, message)) {
      this.#refuse(
        peer,
        'bad-argument',
        `Layers [${message.layerStart}, ${message.layerEnd}) of ${message.model} are not assigned to this peer.`,
      );
      return;
    }
    if (standing.kind === 'serving') return;
    this.#peers.set(peer, { ...standing, kind: 'serving' });
    this.#effects.push({ type: 'mesh-changed' });
  }

  /** A peer that failed to load is not tried again before it joins again. */
  #leave(peer: PeerId): void {
    const standing = this.#peers.get(peer);
    if (standing === undefined || !('capability' in standing)) return;
    this.#peers.set(peer, { kind: 'visitor' });
    this.#place();
  }

  #relay(peer: PeerId, { to, data }: Message<'signal'>): void {
    const characters = JSON.stringify(data ?? null).length;
    if (characters > MAX_SIGNAL_CHARACTERS) {
      const limit = `the limit of ${MAX_SIGNAL_CHARACTERS}`;
      this.#refuse(peer, 'bad-message', `A signal of ${characters} characters is over ${limit}.`);
    } else if (!this.#peers.isGreeted(to)) {
      const error = new SkeinError('peer-lost', `Peer ${to} is not connected.`, { data: { peer: to } });
      this.#send(peer, { type: 'error', error: error.toShape() });
    } else {
      this.#send(to, { type: 'signal', from: peer, data });
    }
  }

  /** Asks the scheduler, and tells everybody whose work changes. */
  #place(): void {
    const { models, stages, scheduler } = this.#options;
    const nodes = this.#peers.nodes();
    const current = this.#peers.assignments();
    const { assignments, missing, why } = scheduler.place({
      models,
      nodes,
      current,
      stages,
      network: ONE_REGION,
    });
    this.#missing = missing;
    for (const { peer, capability } of nodes) {
      const before = current.get(peer);
      const after = assignments.get(peer);
      if (after === undefined) {
        this.#peers.set(peer, { kind: 'waiting', capability });
        if (before !== undefined) this.#send(peer, { type: 'unassign' });
      } else if (before === undefined || !sameAssignment(before, after)) {
        this.#peers.set(peer, { kind: 'loading', capability, slice: after });
        this.#send(peer, { type: 'assign', ...after });
      }
    }
    for (const line of why) this.#log(line);
    this.#effects.push({ type: 'mesh-changed' });
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
