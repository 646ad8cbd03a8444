import type { PeerId } from '../../../src/protocol/ids.ts';
import type { Hop } from '../../../src/protocol/route.ts';
import type { ModelCard } from '../../../src/protocol/signaling.ts';
import type { LayerRange } from '../../../signaling/scheduler/types.ts';
import type { DeviceClass } from '../../sim/device.ts';
import type { Site } from '../../sim/network.ts';
import type { Policy, PolicyCommand, PolicyEvent, PolicyTraits } from '../../sim/policy.ts';
import type { Scenario, Visit } from '../../sim/scenario.ts';
import { READING_PACE } from '../../sim/scenario.ts';
import { QWEN_3B_INT4 } from '../../sim/scenarios/models.ts';

export const PLAIN_TRAITS: PolicyTraits = {
  batching: {
    kind: 'continuous',
    first: 'decode',
    maxRows: 256,
    maxSequences: 32,
    prefillChunkRows: 64,
    decodeRows: 'share',
  },
  cacheUse: 'as-it-grows',
  cacheRoom: { share: 1 },
  maxOpenRequests: Infinity,
  afterLoss: 'prefill-again',
  notice: {
    closed: { request: [2, 2], policy: [1, 1] },
    vanished: { request: [20, 20], policy: [16, 16] },
  },
  ring: 'straight',
  retry: { attempts: 8, firstSeconds: 0.5, longestSeconds: 4 },
};

/** Gives the peers these slices in the order in which they come, and every request all of them as its route. */
export class FixedPolicy implements Policy {
  readonly name = 'fixed';
  readonly events: PolicyEvent[] = [];
  /** Of the deaths it was told of. */
  readonly lostAt: number[] = [];
  spare: Hop | null = null;
  readonly #hops: Hop[] = [];
  readonly #ready = new Set<PeerId>();

  constructor(
    readonly slices: readonly LayerRange[],
    readonly traits: PolicyTraits = PLAIN_TRAITS,
  ) {}

  /** The next to come gets the first slice again. */
  reset(): void {
    this.#hops.length = 0;
    this.#ready.clear();
  }

  /** Takes the second slice's place from now on. */
  useSpare(): void {
    if (this.spare !== null) this.#hops.splice(1, 1, this.spare);
  }

  handle(event: PolicyEvent, nowSeconds: number): readonly PolicyCommand[] {
    if (event.type === 'lost') this.lostAt.push(nowSeconds);
    if (event.type !== 'tick') this.events.push(event);
    if (event.type === 'join') {
      const slice = this.slices[this.#hops.length];
      if (slice === undefined) return [];
      this.#hops.push({ peer: event.peer, ...slice });
      return [{ type: 'assign', peer: event.peer, slice }];
    }
    if (event.type === 'serving') this.#ready.add(event.peer);
    if (event.type === 'lost') this.#ready.delete(event.peer);
    if (event.type !== 'request') return [];
    const { requestId } = event;
    const isWhole =
      this.#hops.length === this.slices.length && this.#hops.every(({ peer }) => this.#ready.has(peer));
    if (!isWhole) return [{ type: 'refuse', requestId, reason: 'no-route' }];
    return [{ type: 'route', requestId, hops: this.#hops }];
  }
}

export const DEVICE: DeviceClass = {
  name: 'test device',
  memoryBytes: 4e9,
  bytesPerSecond: 100e9,
  flopsPerSecond: 2e12,
  stepOverheadSeconds: 0.004,
  spread: 0,
};

export const NEAR: Site = {
  region: 0,
  accessSeconds: 0,
  uplinkBytesPerSecond: 1e15,
  downlinkBytesPerSecond: 1e15,
};

/** A scenario without noise, network or churn; every test changes what it is about. */
export function quietScenario(changes: Partial<Scenario> & { readonly devices?: number } = {}): Scenario {
  const { devices = 1, ...rest } = changes;
  return {
    name: 'quiet',
    about: '',
    card: QWEN_3B_INT4,
    rates: [1],
    lengths: {
      name: 'always the same',
      prompt: { mean: 100, deviation: 0 },
      answer: { mean: 20, deviation: 0 },
      maxPromptTokens: 4096,
      maxAnswerTokens: 4096,
    },
    rateFactor: () => 1,
    warmUpSeconds: 20,
    rampSeconds: 0,
    windowSeconds: 100,
    drainSeconds: 1000,
    objective: READING_PACE,
    network: {
      regionRttSeconds: [[0]],
      jitterSeconds: 0,
      relayedShare: 0,
      relayRttSeconds: 0,
      relayBytesPerSecond: 1e15,
      serverRegion: 0,
    },
    honesty: { measurementError: 0, liarShare: 0, lieFactor: 1 },
    loads: { downloadBytesPerSecond: 1e9, diskBytesPerSecond: 10e9, startSeconds: 1 },
    graceSeconds: 5,
    visits: () => Array.from({ length: devices }, () => visit()),
    requesterSite: () => NEAR,
    ...rest,
  };
}

export function visit(changes: Partial<Visit> = {}): Visit {
  return {
    kind: DEVICE,
    site: NEAR,
    joinsAt: 0,
    leavesAt: Infinity,
    leaving: 'closed',
    returnOf: null,
    slowdowns: [],
    ...changes,
  };
}

export function wholeModel(card: ModelCard): LayerRange {
  return { layerStart: 0, layerEnd: card.layerCount };
}

/** The model in so many slices of as equal length as can be. */
export function slicesOf(card: ModelCard, count: number): LayerRange[] {
  return Array.from({ length: count }, (_, index) => ({
    layerStart: Math.round((index * card.layerCount) / count),
    layerEnd: Math.round(((index + 1) * card.layerCount) / count),
  }));
}
