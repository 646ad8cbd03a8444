import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { SIGNALING_VERSION } from '../../../src/protocol/signaling.ts';
import type { PeerId, RequestId } from '../../../src/protocol/ids.ts';
import { CACHE_RESERVE_TOKENS } from '../../../src/protocol/limits.ts';
import type { Hop } from '../../../src/protocol/route.ts';
import { Stage } from './presence-stage.ts';
import { card, MODEL, peerId } from './scheduler/instances.ts';

const LENDERS = [1, 2, 3, 4, 5].map(peerId);
const REQUESTERS = [11, 12, 13].map(peerId);
/** Each belongs to whoever asks for it first. */
const REQUESTS = ['1', '2', '3', '4', '5', '6', '7'].map((digit) => digit.repeat(16) as RequestId);

const steps = fc.array(
  fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({ type: fc.constant('join' as const), peer: fc.constantFrom(...LENDERS) }),
    },
    {
      weight: 8,
      arbitrary: fc.record({ type: fc.constant('load' as const), peer: fc.constantFrom(...LENDERS) }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ type: fc.constant('leave' as const), peer: fc.constantFrom(...LENDERS) }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        type: fc.constant('crash' as const),
        peer: fc.constantFrom(...LENDERS, ...REQUESTERS),
      }),
    },
    {
      weight: 8,
      arbitrary: fc.record({
        type: fc.constant('ask' as const),
        peer: fc.constantFrom(...REQUESTERS),
        request: fc.constantFrom(...REQUESTS),
        epoch: fc.nat(3),
        exclude: fc.subarray(LENDERS, { maxLength: 2 }),
        tokens: fc.integer({ min: 1, max: CACHE_RESERVE_TOKENS * 1.25 }),
      }),
    },
    {
      weight: 4,
      arbitrary: fc.record({
        type: fc.constant('end' as const),
        peer: fc.constantFrom(...REQUESTERS),
        request: fc.constantFrom(...REQUESTS),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({ type: fc.constant('pass' as const), seconds: fc.integer({ min: 1, max: 40 }) }),
    },
  ),
  { minLength: 40, maxLength: 80 },
);
type Step = typeof steps extends fc.Arbitrary<(infer Item)[]> ? Item : never;

/** What the mesh must think of everybody, kept by nothing but what was said by either side. */
class Witness {
  readonly running = new Map<RequestId, { readonly requester: PeerId; readonly hops: readonly Hop[] }>();
  readonly waiting = new Map<RequestId, PeerId>();
  readonly told = new Map<PeerId, { readonly layerStart: number; readonly layerEnd: number }>();
  readonly loaded = new Set<PeerId>();
  readonly #here = new Set<PeerId>();
  #seen = 0;

  constructor(readonly stage: Stage) {}

  take(step: Step): void {
    const { stage } = this;
    if ('peer' in step && !this.#here.has(step.peer)) {
      stage.handle({ type: 'connected', peer: step.peer });
      stage.say(step.peer, { type: 'hello', version: SIGNALING_VERSION });
      this.#here.add(step.peer);
    }
    switch (step.type) {
      case 'join':
        stage.join(step.peer);
        break;
      case 'load':
        if (this.told.has(step.peer) && !this.loaded.has(step.peer)) {
          this.loaded.add(step.peer);
          const slice = this.told.get(step.peer);
          if (slice !== undefined) {
            stage.say(step.peer, { type: 'serving', model: MODEL, ...slice });
            stage.reportCache(step.peer, CACHE_RESERVE_TOKENS / 4);
          }
        }
        break;
      case 'leave':
        this.#forget(step.peer);
        stage.say(step.peer, { type: 'leave' });
        break;
      case 'crash':
        this.#forget(step.peer);
        this.#here.delete(step.peer);
        for (const requests of [this.running, this.waiting]) {
          for (const [id, owner] of requests) {
            if ((typeof owner === 'string' ? owner : owner.requester) === step.peer) requests.delete(id);
          }
        }
        stage.disconnect(step.peer);
        break;
      case 'ask':
        if (this.#mayBeOf(step.request, step.peer)) {
          this.running.delete(step.request);
          this.waiting.set(step.request, step.peer);
        }
        stage.route(step.peer, { ...step, type: 'route-request', requestId: step.request, model: MODEL });
        break;
      case 'end':
        if (this.#mayBeOf(step.request, step.peer)) {
          this.running.delete(step.request);
          this.waiting.delete(step.request);
        }
        stage.end(step.peer, step.request);
        break;
      case 'pass':
        stage.pass(step.seconds * 1000);
        break;
    }
    this.#hear();
  }

  /** What must hold after every event. */
  check(): void {
    const { presence } = this.stage;
    expect(presence.requestCount).toBe(this.running.size);
    expect(presence.queuedCount).toBe(this.waiting.size);
    for (const peer of LENDERS) {
      const over = [...this.running.values()].filter(({ hops }) => hops.some((hop) => hop.peer === peer));
      expect(presence.inFlight(peer)).toBe(over.length);
    }
  }

  #mayBeOf(request: RequestId, peer: PeerId): boolean {
    return (this.running.get(request)?.requester ?? this.waiting.get(request) ?? peer) === peer;
  }

  #forget(peer: PeerId): void {
    this.told.delete(peer);
    this.loaded.delete(peer);
  }

  #hear(): void {
    for (const effect of this.stage.effects.slice(this.#seen)) {
      if (effect.type !== 'send') continue;
      const { to, message } = effect;
      if (message.type === 'assign') {
        this.told.set(to, { layerStart: message.layerStart, layerEnd: message.layerEnd });
        this.loaded.delete(to);
      } else if (message.type === 'unassign') this.#forget(to);
      else if (message.type === 'route') this.#hearRoute(to, message.route.requestId, message.route.hops);
      else if (message.type === 'route-denied' && this.waiting.get(message.requestId) === to) {
        this.waiting.delete(message.requestId);
      } else if (message.type === 'route-queued') {
        expect(this.waiting.get(message.requestId) ?? to).toBe(to);
      }
    }
    this.#seen = this.stage.effects.length;
  }

  #hearRoute(to: PeerId, requestId: RequestId, hops: readonly Hop[]): void {
    expect(this.waiting.get(requestId)).toBe(to);
    this.waiting.delete(requestId);
    let layer = 0;
    for (const { peer, layerStart, layerEnd } of hops) {
      expect(layerStart).toBe(layer);
      layer = layerEnd;
      expect(this.loaded.has(peer)).toBe(true);
      expect(this.told.get(peer)).toMatchObject({ layerStart, layerEnd });
    }
    expect(layer).toBe(card().layerCount);
    this.running.set(requestId, { requester: to, hops });
  }
}

it('counts exactly what runs and waits, routes over loaded slices only, and has nothing left when all is over', () => {
  let routed = 0;
  let queued = 0;
  let moved = 0;
  fc.assert(
    fc.property(steps, fc.constantFrom<'auto' | number>('auto', 2, 3), (list, stages) => {
      const witness = new Witness(new Stage({ stages }));
      for (const step of list) {
        witness.take(step);
        witness.check();
        if (witness.waiting.size > 0) queued += 1;
        if (step.type === 'ask' && witness.running.has(step.request)) routed += 1;
        if (step.type === 'join' && witness.told.has(step.peer)) moved += 1;
      }
      for (const peer of REQUESTERS) {
        for (const request of REQUESTS) witness.take({ type: 'end', peer, request });
      }
      witness.check();
      const { presence } = witness.stage;
      expect([presence.requestCount, presence.queuedCount]).toEqual([0, 0]);
      for (const peer of LENDERS) expect(presence.inFlight(peer)).toBe(0);
    }),
    { numRuns: 60 },
  );
  // The cases are of use only if such things happen in them.
  for (const count of [routed, queued, moved]) expect(count).toBeGreaterThan(40);
}, 30_000);
