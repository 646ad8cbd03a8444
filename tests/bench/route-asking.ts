import { Measurements } from '../../signaling/measurements.ts';
import { Peers } from '../../signaling/peers.ts';
import { RouteDesk } from '../../signaling/route-desk.ts';
import { steadyScheduler } from '../../signaling/scheduler/scheduler.ts';
import type { RouteInput } from '../../signaling/scheduler/types.ts';
import { newRequestId } from '../../src/protocol/ids.ts';
import type { PeerId } from '../../src/protocol/ids.ts';
import { MAX_TIME_LIMIT_MS } from '../../src/protocol/limits.ts';
import type { Route } from '../../src/protocol/route.ts';
import { OfferedModels } from '../../signaling/offered-models.ts';
import type { LinkReport, ServerMessage } from '../../src/protocol/signaling.ts';

const REPORT_SECONDS = 5;

/** The server's desk over the members of an input, who joined, serve and reported their stages and ways. */
export class AskedDesk {
  readonly #input: RouteInput;
  readonly #desk: RouteDesk;
  #answer: ServerMessage | null = null;

  constructor(input: RouteInput, nowMs: number) {
    this.#input = input;
    const { card, members, network } = input;
    const peers = new Peers();
    const measurements = new Measurements([card]);
    const send = (_: PeerId, message: ServerMessage) => (this.#answer = message);
    const missing = () => new Map<never, never>();
    this.#desk = new RouteDesk({
      models: new OfferedModels([card]),
      scheduler: steadyScheduler,
      peers,
      measurements,
      missing,
      avoidedBy: () => [],
      send,
    });
    for (const { peer, capability, layerStart, layerEnd } of members) {
      const lent = { capability, cached: [], abandoned: [] };
      const slice = { model: card.id, layerStart, layerEnd };
      peers.set(peer, { kind: 'serving', lent, slice, move: null });
      measurements.joined(peer, capability, nowMs);
    }
    for (const { peer, layerStart, layerEnd, cacheTokens } of members) {
      const links = [...(network.links.get(peer) ?? [])].map(([other, link]): LinkReport => ({
        peer: other,
        ...link,
      }));
      const stage = {
        model: card.id,
        layerStart,
        layerEnd,
        steps: 0,
        rows: 0,
        busySeconds: 0,
        seconds: REPORT_SECONDS,
        activeSequences: 0,
        freeCacheTokens: cacheTokens,
        cacheTokens,
      };
      measurements.reported(peer, { stage, links }, nowMs);
    }
  }

  /** One request from its asking to its end. @returns its route, null where it was denied one or has to wait. */
  ask(requester: PeerId, nowMs: number): Route | null {
    const { card, tokens } = this.#input;
    const requestId = newRequestId();
    this.#answer = null;
    this.#desk.ask(
      requester,
      {
        type: 'route-request',
        requestId,
        model: card.id,
        epoch: 0,
        exclude: [],
        tokens,
        timeLimitMs: MAX_TIME_LIMIT_MS,
      },
      nowMs,
    );
    this.#desk.end(requester, requestId, undefined, nowMs);
    return routeIn(this.#answer);
  }
}

/** Apart from where it is sent, because the compiler does not see that asking sends. */
function routeIn(answer: ServerMessage | null): Route | null {
  return answer?.type === 'route' ? answer.route : null;
}
