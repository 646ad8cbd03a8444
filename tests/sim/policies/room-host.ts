import type { PeerId, RequestId } from '../../../src/protocol/ids.ts';
import type { Hop } from '../../../src/protocol/route.ts';
import type { ModelCard } from '../../../src/protocol/signaling.ts';
import type { LayerRange } from '../../../signaling/scheduler/types.ts';
import { SILENCE_SECONDS } from '../policy.ts';
import type { Policy, PolicyCommand, PolicyContext, PolicyEvent, PolicyTraits } from '../policy.ts';
import { sliceWeightBytes } from '../simulated-peer.ts';

/** Of a peer's memory, what the host plans to fill with weights; the rest is cache. */
const WEIGHT_SHARE = 0.8;

interface Guest {
  readonly peer: PeerId;
  readonly memoryBytes: number;
}

/**
 * A room with a host, as games have it: the host splits the model over whoever came first and fits, in order of arrival, and serves
 * one request after the other. Others are spectators until somebody leaves; then the room is made anew.
 */
export class RoomHost implements Policy {
  readonly name = 'room-host';
  readonly traits: PolicyTraits = {
    batching: { kind: 'separate', prefillChunkRows: null },
    cacheUse: 'as-it-grows',
    cacheRoom: { share: 1 },
    maxOpenRequests: Infinity,
    afterLoss: 'restart',
    notice: {
      closed: { request: [0, 1], policy: [0, 1] },
      vanished: { request: SILENCE_SECONDS, policy: SILENCE_SECONDS },
    },
    ring: 'straight',
    retry: { attempts: 8, firstSeconds: 1, longestSeconds: 30 },
  };

  readonly #card: ModelCard;
  readonly #guests = new Map<PeerId, Guest>();
  readonly #serving = new Set<PeerId>();
  readonly #waiting: RequestId[] = [];
  #room: readonly Hop[] = [];
  #running: RequestId | null = null;

  constructor({ card }: PolicyContext) {
    this.#card = card;
  }

  handle(event: PolicyEvent): readonly PolicyCommand[] {
    switch (event.type) {
      case 'join':
        this.#guests.set(event.peer, { peer: event.peer, memoryBytes: event.claim.memoryBytes });
        return this.#room.length === 0 ? this.#makeRoom() : [];
      case 'leave':
      case 'lost':
        return this.#gone(event.peer);
      case 'serving':
        this.#serving.add(event.peer);
        return this.#next();
      case 'request':
        if (event.requestId === this.#running) this.#running = null;
        this.#waiting.push(event.requestId);
        return this.#next();
      case 'ended':
        if (event.requestId === this.#running) this.#running = null;
        return this.#next();
      case 'measured':
      case 'tick':
        return [];
    }
  }

  #gone(peer: PeerId): readonly PolicyCommand[] {
    this.#guests.delete(peer);
    return this.#room.some((hop) => hop.peer === peer) ? this.#makeRoom() : [];
  }

  #makeRoom(): readonly PolicyCommand[] {
    const before = new Map(this.#room.map((hop) => [hop.peer, hop]));
    this.#room = roomOf(this.#card, [...this.#guests.values()]);
    const changed = this.#room.filter((hop) => !sameLayers(before.get(hop.peer), hop));
    for (const { peer } of changed) this.#serving.delete(peer);
    return changed.map((hop) => ({ type: 'assign', peer: hop.peer, slice: hop }));
  }

  #next(): readonly PolicyCommand[] {
    const isWhole = this.#room.length > 0 && this.#room.every(({ peer }) => this.#serving.has(peer));
    const requestId = this.#waiting[0];
    if (this.#running !== null || !isWhole || requestId === undefined) return [];
    this.#waiting.shift();
    this.#running = requestId;
    return [{ type: 'route', requestId, hops: this.#room }];
  }
}

/** The first guests that hold the model together, each as many layers as fit; empty while they do not. */
function roomOf(card: ModelCard, guests: readonly Guest[]): readonly Hop[] {
  const hops: Hop[] = [];
  let layerStart = 0;
  for (const { peer, memoryBytes } of guests) {
    const slice = widestSlice(card, layerStart, memoryBytes * WEIGHT_SHARE);
    if (slice === null) continue;
    hops.push({ peer, ...slice });
    layerStart = slice.layerEnd;
    if (layerStart === card.layerCount) return hops;
  }
  return [];
}

function widestSlice(card: ModelCard, layerStart: number, weightBytes: number): LayerRange | null {
  for (let layerEnd = card.layerCount; layerEnd > layerStart; layerEnd--) {
    if (sliceWeightBytes(card, { layerStart, layerEnd }) <= weightBytes) return { layerStart, layerEnd };
  }
  return null;
}

function sameLayers(a: LayerRange | undefined, b: LayerRange): boolean {
  return a?.layerStart === b.layerStart && a.layerEnd === b.layerEnd;
}
