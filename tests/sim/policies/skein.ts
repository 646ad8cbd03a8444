import { nextAttempt } from '../../../src/client/retry.ts';
import { SkeinError } from '../../../src/protocol/errors.ts';
import type { PeerId } from '../../../src/protocol/ids.ts';
import { SUSPICION_MS } from '../../../src/protocol/limits.ts';
import { MAX_TIME_LIMIT_MS } from '../../../src/protocol/limits.ts';
import { SIGNALING_VERSION } from '../../../src/protocol/signaling.ts';
import type { ClientMessage, ServerMessage } from '../../../src/protocol/signaling.ts';
import { PING_INTERVAL_MS } from '../../../signaling/limits.ts';
import { Presence } from '../../../signaling/presence.ts';
import type { PresenceEvent } from '../../../signaling/presence.ts';
import { steadyScheduler } from '../../../signaling/scheduler/scheduler.ts';
import { SILENCE_SECONDS } from '../policy.ts';
import type { Policy, PolicyCommand, PolicyContext, PolicyEvent, PolicyTraits } from '../policy.ts';

const MS_PER_SECOND = 1000;
const SUSPICION_SECONDS = SUSPICION_MS / MS_PER_SECOND;
const PING_SECONDS = PING_INTERVAL_MS / MS_PER_SECOND;
/** As many as the executor of src/engine keeps open unless it is told otherwise. */
const MAX_OPEN_REQUESTS = 256;

export const SKEIN_TRAITS: PolicyTraits = {
  // As src/engine has them: chunks of the executor, rows and sequences of a slice's buffers.
  batching: {
    kind: 'continuous',
    first: 'decode',
    maxRows: 256,
    maxSequences: 32,
    prefillChunkRows: 64,
    decodeRows: 'share',
  },
  cacheUse: 'as-it-grows',
  cacheRoom: 'stage',
  maxOpenRequests: MAX_OPEN_REQUESTS,
  afterLoss: 'prefill-again',
  // The server hears a socket close, or misses an answer to one of its pings; peers doubt whom it no longer names.
  notice: {
    closed: { request: [SUSPICION_SECONDS, SUSPICION_SECONDS + 1], policy: [0, 1] },
    vanished: { request: SILENCE_SECONDS, policy: [PING_SECONDS, 2 * PING_SECONDS] },
  },
  ring: 'straight',
  retry: { attempts: 8, firstSeconds: 0.1, longestSeconds: 5 },
};

/** The server itself: its `Presence`, with its scheduler, measurements and queue, driven by the virtual clock. */
export class SkeinPolicy implements Policy {
  readonly name = 'skein';
  readonly traits = SKEIN_TRAITS;
  readonly retryRule = nextAttempt;

  readonly presence: Presence;
  readonly #context: PolicyContext;
  #nowSeconds = 0;

  constructor(context: PolicyContext) {
    this.#context = context;
    this.presence = new Presence({
      models: [context.card],
      stages: 'auto',
      scheduler: steadyScheduler,
      iceServers: [],
      now: () => this.#nowSeconds * MS_PER_SECOND,
    });
  }

  handle(event: PolicyEvent, nowSeconds: number): readonly PolicyCommand[] {
    this.#nowSeconds = nowSeconds;
    return this.#toPresence(event).flatMap((presenceEvent) =>
      this.presence.handle(presenceEvent).flatMap((effect) => {
        if (effect.type === 'fault') throw effect.error;
        return effect.type === 'send' ? toCommands(effect.to, effect.message) : [];
      }),
    );
  }

  #toPresence(event: PolicyEvent): PresenceEvent[] {
    const model = this.#context.card.id;
    switch (event.type) {
      case 'join': {
        const { peer, claim: capability, cached, serverRttSeconds: seconds } = event;
        return [
          ...greeting(peer),
          { type: 'round-trip', peer, seconds },
          message(peer, { type: 'join', capability, cached: [...cached] }),
        ];
      }
      case 'serving':
        return [message(event.peer, { type: 'serving', model, ...event.slice })];
      case 'leave':
        return [message(event.peer, { type: 'leave' })];
      case 'lost':
        return [{ type: 'disconnected', peer: event.peer }];
      case 'measured': {
        const { peer, stage, links, serverRttSeconds: seconds } = event;
        return [
          { type: 'round-trip', peer, seconds },
          message(peer, { type: 'report', stage, links: [...links] }),
        ];
      }
      case 'request': {
        const { requester, requestId, attempt: epoch, exclude, promptTokens, maxTokens } = event;
        const tokens = promptTokens + maxTokens;
        return [
          ...(epoch === 0 ? greeting(requester) : []),
          message(requester, {
            type: 'route-request',
            requestId,
            model,
            epoch,
            exclude: [...exclude],
            tokens,
            timeLimitMs: MAX_TIME_LIMIT_MS,
          }),
        ];
      }
      case 'ended': {
        const { requester, requestId, outcome } = event;
        return [
          message(requester, { type: 'route-end', requestId, ...(outcome !== null && { outcome }) }),
          { type: 'disconnected', peer: requester },
        ];
      }
      case 'tick':
        return [{ type: 'tick' }];
    }
  }
}

function greeting(peer: PeerId): PresenceEvent[] {
  return [{ type: 'connected', peer }, message(peer, { type: 'hello', version: SIGNALING_VERSION })];
}

function message(peer: PeerId, body: ClientMessage): PresenceEvent {
  return { type: 'message', peer, message: body };
}

function toCommands(to: PeerId, body: ServerMessage): PolicyCommand[] {
  switch (body.type) {
    case 'assign': {
      const { layerStart, layerEnd } = body;
      return [{ type: 'assign', peer: to, slice: { layerStart, layerEnd } }];
    }
    case 'unassign':
      return [{ type: 'assign', peer: to, slice: null }];
    case 'route':
      return [{ type: 'route', requestId: body.route.requestId, hops: body.route.hops }];
    case 'route-denied': {
      const reason = body.error.code === 'no-route' ? 'no-route' : 'busy';
      const error = SkeinError.fromShape(body.error);
      return [{ type: 'refuse', requestId: body.requestId, reason, error }];
    }
    case 'probe':
      return [{ type: 'probe', peer: to, peers: body.peers }];
    case 'welcome':
    case 'models':
    case 'route-queued':
    case 'signal':
    case 'mesh':
    case 'ice-servers':
    case 'roll-call':
    case 'error':
      return [];
  }
}
