import { newRequestId } from '../../../src/protocol/ids.ts';
import type { PeerId, RequestId } from '../../../src/protocol/ids.ts';
import { MAX_TIME_LIMIT_MS } from '../../../src/protocol/limits.ts';
import { SIGNALING_VERSION } from '../../../src/protocol/signaling.ts';
import type { ClientMessage, ModelCard, ServerMessage } from '../../../src/protocol/signaling.ts';
import { Presence } from '../../../signaling/presence.ts';
import type { Effect, PresenceEvent, PresenceOptions } from '../../../signaling/presence.ts';
import { steadyScheduler } from '../../../signaling/scheduler/scheduler.ts';
import type { Assignment, Scheduler, StagePolicy } from '../../../signaling/scheduler/types.ts';
import { card, MODEL, node } from './scheduler/instances.ts';

type ServerMessageOf<Type extends ServerMessage['type']> = Extract<ServerMessage, { type: Type }>;
type RouteRequest = Extract<ClientMessage, { type: 'route-request' }>;

/** A slice that a peer says it holds. */
type Holds = Extract<ClientMessage, { type: 'join' }>['holds'];

export interface StageOptions extends Partial<
  Pick<PresenceOptions, 'turn' | 'isRelayOnly' | 'resumeToken' | 'isGateway'>
> {
  readonly stages?: StagePolicy;
  readonly models?: readonly ModelCard[];
  readonly scheduler?: Scheduler;
}

/** A presence with a clock that tests turn, and the effects of everything that happened to it. */
export class Stage {
  readonly effects: Effect[] = [];
  readonly presence: Presence;
  nowMs = 0;
  expectsFaults = false;

  constructor(options: StageOptions = {}) {
    this.presence = new Presence({
      models: [card()],
      stages: 'auto',
      scheduler: steadyScheduler,
      iceServers: [],
      now: () => this.nowMs,
      ...options,
    });
  }

  handle(event: PresenceEvent): readonly Effect[] {
    const effects = this.presence.handle(event);
    this.effects.push(...effects);
    for (const effect of effects) if (effect.type === 'fault' && !this.expectsFaults) throw effect.error;
    return effects;
  }

  /** @returns what the peer itself is sent in answer. */
  say(peer: PeerId, message: ClientMessage): ServerMessage[] {
    return sends(this.handle({ type: 'message', peer, message }), peer);
  }

  connect(...peers: readonly PeerId[]): void {
    for (const peer of peers) {
      this.handle({ type: 'connected', peer });
      this.say(peer, { type: 'hello', version: SIGNALING_VERSION });
    }
  }

  /** They come from one address each, or from one all together. */
  connectFrom(accuser: string, ...peers: readonly PeerId[]): void {
    for (const peer of peers) {
      this.handle({ type: 'connected', peer, accuser });
      this.say(peer, { type: 'hello', version: SIGNALING_VERSION });
    }
  }

  /** Comes back with the id that it had. */
  resume(peer: PeerId): void {
    this.handle({ type: 'connected', peer, isResumed: true });
    this.say(peer, { type: 'hello', version: SIGNALING_VERSION });
  }

  /** Comes back with what it had. @returns what it is told to do in answer to its `join`. */
  returnWith(peer: PeerId, holds: Holds): ServerMessage[] {
    this.resume(peer);
    const join = {
      type: 'join',
      capability: node(0).capability,
      cached: [],
      ...(holds && { holds }),
    } as const;
    return this.say(peer, { ...join, cached: [] }).filter(({ type }) => type !== 'probe');
  }

  disconnect(peer: PeerId): void {
    this.handle({ type: 'disconnected', peer });
  }

  /** Time passes, a tick every second. */
  pass(ms: number): void {
    const endMs = this.nowMs + ms;
    while (this.nowMs < endMs) {
      this.nowMs = Math.min(endMs, this.nowMs + 1000);
      this.handle({ type: 'tick' });
    }
  }

  /** Time passes at once, with one tick at its end. */
  skip(ms: number): void {
    this.nowMs += ms;
    this.handle({ type: 'tick' });
  }

  join(...peers: readonly PeerId[]): void {
    for (const peer of peers) this.joinWith(peer, []);
  }

  joinWith(peer: PeerId, cached: Assignment[]): void {
    this.say(peer, { type: 'join', capability: node(0).capability, cached });
  }

  /** Everybody who is to load something says that it has. */
  loadAll(): void {
    for (const { peer, state } of this.presence.mesh().members) if (state === 'loading') this.load(peer);
  }

  load(peer: PeerId): void {
    const member = this.presence.mesh().members.find((other) => other.peer === peer);
    if (member === undefined) throw new Error(`${peer} holds nothing`);
    const { model, layerStart, layerEnd } = member;
    this.say(peer, { type: 'serving', model, layerStart, layerEnd });
  }

  /** A peer says how many tokens of cache its stage has. To be heard before the first route over it. */
  reportCache(peer: PeerId, cacheTokens: number): void {
    const member = this.presence.mesh().members.find((other) => other.peer === peer);
    if (member === undefined) throw new Error(`${peer} holds nothing`);
    const { model, layerStart, layerEnd } = member;
    const work = { steps: 0, rows: 0, busySeconds: 0, seconds: 1, activeSequences: 0, freeCacheTokens: 0 };
    this.say(peer, {
      type: 'report',
      stage: { model, layerStart, layerEnd, ...work, cacheTokens },
      links: [],
    });
  }

  /** @returns the first message to the requester. */
  route(peer: PeerId, changes: Partial<RouteRequest> = {}): ServerMessage | undefined {
    const request = { requestId: newRequestId(), model: MODEL, epoch: 0, exclude: [], tokens: 64 };
    const timeLimitMs = MAX_TIME_LIMIT_MS;
    return this.say(peer, { type: 'route-request', ...request, timeLimitMs, ...changes })[0];
  }

  end(peer: PeerId, requestId: RequestId): void {
    this.say(peer, { type: 'route-end', requestId });
  }

  sentTo<Type extends ServerMessage['type']>(peer: PeerId, type: Type): ServerMessageOf<Type>[] {
    return sends(this.effects, peer).filter(
      (message): message is ServerMessageOf<Type> => message.type === type,
    );
  }

  /** What was sent since the last call. */
  takeSent(peer: PeerId): ServerMessage[] {
    const sent = sends(this.effects, peer);
    this.effects.length = 0;
    return sent;
  }
}

export function sends(effects: readonly Effect[], peer: PeerId): ServerMessage[] {
  return effects.flatMap((effect) => (effect.type === 'send' && effect.to === peer ? [effect.message] : []));
}

/** The peers of a route, or the message that is none. */
export function hopsOf(message: ServerMessage | undefined): unknown {
  return message?.type === 'route' ? message.route.hops.map(({ peer }) => peer) : message;
}
