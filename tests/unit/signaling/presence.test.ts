import { describe, expect, it } from 'vitest';
import { newRequestId } from '../../../src/protocol/ids.ts';
import type { ModelId, PeerId } from '../../../src/protocol/ids.ts';
import { CACHE_RESERVE_TOKENS } from '../../../src/protocol/limits.ts';
import { SIGNALING_VERSION } from '../../../src/protocol/signaling.ts';
import type { Capability } from '../../../src/protocol/signaling.ts';
import {
  MAX_REQUESTS_PER_PEER,
  MAX_SIGNAL_CHARACTERS,
  PROBE_INTERVAL_MS,
} from '../../../signaling/limits.ts';
import type { Assignment } from '../../../signaling/scheduler/types.ts';
import { hopsOf, Stage } from './presence-stage.ts';
import { card, MODEL, node, peerId, slice } from './scheduler/instances.ts';

const [A, B, C, CHAT] = [peerId(1), peerId(2), peerId(3), peerId(9)] as const;

describe('hello', () => {
  it('is answered with welcome and the mesh', () => {
    const stage = new Stage();
    stage.presence.handle({ type: 'connected', peer: A });
    expect(stage.say(A, { type: 'hello', version: SIGNALING_VERSION })).toEqual([
      { type: 'welcome', version: SIGNALING_VERSION, peer: A, models: [card()], iceServers: [] },
      { type: 'mesh', members: [], covered: [] },
    ]);
  });

  it('of another version is refused in words and closed', () => {
    const stage = new Stage();
    stage.presence.handle({ type: 'connected', peer: A });
    expect(stage.say(A, { type: 'hello', version: 99 })).toMatchObject([
      { type: 'error', error: { code: 'bad-message', message: expect.stringContaining('Reload') as string } },
    ]);
    expect(stage.effects).toContainEqual({ type: 'close', peer: A, reason: 'signaling version' });
    expect(stage.presence.isGreeted(A)).toBe(false);
  });

  it('comes first and once', () => {
    const stage = new Stage();
    stage.presence.handle({ type: 'connected', peer: A });
    const refusal = [{ type: 'error', error: { code: 'bad-message' } }];
    expect(stage.say(A, { type: 'join', capability: node(0).capability, cached: [] })).toMatchObject(refusal);
    expect(stage.presence.mesh().members).toEqual([]);
    stage.connect(B);
    expect(stage.say(B, { type: 'hello', version: SIGNALING_VERSION })).toMatchObject(refusal);
  });
});

describe('contributing', () => {
  it('goes from join over assign and serving to a route', () => {
    const stage = new Stage({ stages: 2 });
    stage.connect(A, B, CHAT);
    stage.join(A);
    expect(stage.sentTo(A, 'assign')).toEqual([]);
    stage.join(B);
    expect(stage.sentTo(A, 'assign')).toEqual([{ type: 'assign', model: MODEL, layerStart: 0, layerEnd: 4 }]);
    expect(stage.sentTo(B, 'assign')).toEqual([{ type: 'assign', model: MODEL, layerStart: 4, layerEnd: 8 }]);
    expect(stage.presence.covered()).toEqual([]);
    stage.loadAll();
    expect(stage.presence.mesh()).toMatchObject({
      members: [
        { peer: A, state: 'serving' },
        { peer: B, state: 'serving' },
      ],
      covered: [MODEL],
    });
    expect(hopsOf(stage.route(CHAT))).toEqual([A, B]);
  });

  it('does not let a peer claim what it was not given', () => {
    const stage = new Stage({ stages: 2 });
    stage.connect(A, B, C);
    stage.join(A, B);
    const claim = { type: 'serving', model: MODEL, layerStart: 0, layerEnd: 8 } as const;
    for (const peer of [A, C]) {
      expect(stage.say(peer, claim)).toMatchObject([{ type: 'error', error: { code: 'bad-argument' } }]);
    }
    expect(stage.presence.mesh().members.map(({ state }) => state)).toEqual(['loading', 'loading']);
  });

  it('places anew when a peer leaves, is cut off, or cannot load', () => {
    for (const end of ['leave', 'disconnect', 'load-failed'] as const) {
      const stage = new Stage({ stages: 2 });
      stage.connect(A, B, C, CHAT);
      stage.join(A, B);
      stage.loadAll();
      if (end === 'disconnect') stage.disconnect(A);
      else if (end === 'leave') stage.say(A, { type: 'leave' });
      else stage.say(A, { type: 'load-failed', error: { code: 'out-of-memory', message: 'full' } });
      expect(stage.presence.covered()).toEqual([]);
      stage.join(C);
      expect(stage.sentTo(C, 'assign')).toEqual([
        { type: 'assign', model: MODEL, layerStart: 0, layerEnd: 4 },
      ]);
      stage.loadAll();
      expect(hopsOf(stage.route(CHAT))).toEqual([C, B]);
    }
  });

  it('is not tried again with a peer that failed to load, until that joins again', () => {
    const stage = new Stage();
    stage.connect(A);
    stage.join(A);
    stage.say(A, { type: 'load-failed', error: { code: 'out-of-memory', message: 'full' } });
    expect(stage.sentTo(A, 'assign')).toHaveLength(1);
    stage.join(A);
    expect(stage.sentTo(A, 'assign')).toHaveLength(2);
  });

  it('keeps a slice over a second join, and frees it when the new capability is too small for any', () => {
    const stage = new Stage();
    stage.connect(A);
    stage.join(A);
    stage.loadAll();
    stage.join(A);
    expect(stage.sentTo(A, 'assign')).toHaveLength(1);
    expect(stage.presence.covered()).toEqual([MODEL]);
    stage.say(A, { type: 'join', capability: { ...node(0).capability, memoryBytes: 1 }, cached: [] });
    expect(stage.sentTo(A, 'unassign')).toHaveLength(1);
    expect(stage.presence.covered()).toEqual([]);
  });

  it('tells nobody about the coming and going of visitors', () => {
    const stage = new Stage();
    stage.connect(A);
    stage.disconnect(A);
    expect(stage.effects.filter(({ type }) => type === 'mesh-changed')).toEqual([]);
  });
});

describe('routes', () => {
  function serving(...peers: readonly PeerId[]): Stage {
    const stage = new Stage();
    stage.connect(...peers, CHAT);
    stage.join(...peers);
    stage.loadAll();
    return stage;
  }

  it('goes to the copy with fewer requests, counted until they end', () => {
    const stage = serving(A, B);
    const first = newRequestId();
    expect(hopsOf(stage.route(CHAT, { requestId: first }))).toEqual([A]);
    expect(hopsOf(stage.route(CHAT))).toEqual([B]);
    stage.say(CHAT, { type: 'route-end', requestId: first });
    expect(hopsOf(stage.route(CHAT))).toEqual([A]);
    expect(stage.presence.requestCount).toBe(2);
    stage.disconnect(CHAT);
    expect(stage.presence.requestCount).toBe(0);
  });

  it('counts a request that asks again once, on its new route', () => {
    const stage = serving(A, B);
    const requestId = newRequestId();
    expect(hopsOf(stage.route(CHAT, { requestId }))).toEqual([A]);
    expect(hopsOf(stage.route(CHAT, { requestId, exclude: [A] }))).toEqual([B]);
    expect(stage.presence.requestCount).toBe(1);
    expect(hopsOf(stage.route(CHAT))).toEqual([A]);
  });

  it('leaves a request to the peer that made it', () => {
    const stage = serving(A, B);
    const requestId = newRequestId();
    stage.route(CHAT, { requestId });
    expect(stage.route(B, { requestId })).toMatchObject({
      type: 'route-denied',
      error: { code: 'bad-argument' },
    });
    stage.say(B, { type: 'route-end', requestId });
    expect(stage.presence.requestCount).toBe(1);
  });

  it('caps the requests of one peer', () => {
    const stage = serving(A);
    for (let count = 0; count < MAX_REQUESTS_PER_PEER; count += 1) {
      stage.route(CHAT, { tokens: 1 });
    }
    expect(stage.presence.requestCount).toBe(MAX_REQUESTS_PER_PEER);
    expect(stage.route(CHAT, { tokens: 1 })).toMatchObject({ type: 'route-denied', error: { code: 'busy' } });
    expect(hopsOf(stage.route(A, { tokens: 1 }))).toEqual([A]);
  });

  it('refuses what no stage would take, and takes what every stage does', () => {
    for (const contextLength of [512, 4096]) {
      const mostTokens = Math.min(contextLength, CACHE_RESERVE_TOKENS);
      const stage = new Stage({ models: [card({ contextLength })] });
      stage.connect(A, CHAT);
      stage.join(A);
      stage.loadAll();
      const requestId = newRequestId();
      expect(hopsOf(stage.route(CHAT, { requestId, tokens: mostTokens }))).toEqual([A]);
      expect(stage.route(CHAT, { requestId, tokens: mostTokens + 1 })).toMatchObject({
        type: 'route-denied',
        error: { code: 'bad-argument', data: { tokens: mostTokens + 1, mostTokens } },
      });
      expect([stage.presence.requestCount, stage.presence.queuedCount]).toEqual([0, 0]);
    }
  });

  it('says what is missing, what still loads, and what the request excludes', () => {
    const denied = (stage: Stage, exclude: PeerId[] = []) => {
      const message = stage.route(CHAT, { exclude });
      return message?.type === 'route-denied' ? message.error : message;
    };
    const stage = new Stage({ stages: 3 });
    stage.connect(A, B, C, CHAT);
    stage.join(A, B, C);
    expect(denied(stage)).toEqual({
      code: 'no-route',
      message: 'model cannot answer now: layers 0–7 still loading; try again in a moment.',
      data: { model: MODEL, loading: true },
    });
    stage.loadAll();
    expect(denied(stage, [B])).toMatchObject({
      message:
        'model cannot answer now: nobody but the peers that the request excludes serves layers 3–5; waiting for another peer.',
    });
    stage.disconnect(B);
    expect(denied(stage)).toEqual({
      code: 'no-route',
      data: { model: MODEL },
      message: 'model cannot answer now: layers 3–5 are held by nobody; waiting for 1 more peer.',
    });
  });

  it('names the models there are to whoever asks for another', () => {
    const stage = serving(A);
    const [answer] = stage.say(CHAT, {
      type: 'route-request',
      requestId: newRequestId(),
      model: 'gpt' as ModelId,
      epoch: 0,
      exclude: [],
      tokens: 64,
      timeLimitMs: 1000,
    });
    expect(answer).toMatchObject({
      type: 'route-denied',
      error: { code: 'bad-argument', message: 'There is no model gpt here, only: model.' },
    });
  });
});

describe('signals', () => {
  it('go to their target, stamped with who sent them', () => {
    const stage = new Stage();
    stage.connect(A, B);
    stage.say(A, { type: 'signal', to: B, data: { sdp: 'v=0' } });
    expect(stage.sentTo(B, 'signal')).toEqual([{ type: 'signal', from: A, data: { sdp: 'v=0' } }]);
  });

  it('to nobody are answered with who was meant', () => {
    const stage = new Stage();
    stage.connect(A);
    stage.presence.handle({ type: 'connected', peer: C });
    for (const to of [B, C]) {
      expect(stage.say(A, { type: 'signal', to, data: 1 })).toMatchObject([
        { type: 'error', error: { code: 'peer-lost', data: { peer: to } } },
      ]);
    }
  });

  it('are capped', () => {
    const stage = new Stage();
    stage.connect(A, B);
    const data = 'x'.repeat(MAX_SIGNAL_CHARACTERS);
    expect(stage.say(A, { type: 'signal', to: B, data })).toMatchObject([
      { type: 'error', error: { code: 'bad-message' } },
    ]);
    expect(stage.sentTo(B, 'signal')).toEqual([]);
  });
});

const stageReport = (range: Assignment, cacheTokens: number) => ({
  ...range,
  steps: 10,
  rows: 10,
  busySeconds: 0.01,
  seconds: 2,
  activeSequences: 0,
  freeCacheTokens: cacheTokens,
  cacheTokens,
});

/** How many requests of this size find room. */
function roomFor(stage: Stage, tokens: number): number {
  for (let count = 0; ; count += 1) {
    if (stage.route(CHAT, { tokens })?.type !== 'route' || count > 40) return count;
  }
}

describe('coming back', () => {
  it('gives a peer a slice whose weights it still has', () => {
    for (const cached of [slice(0, 4), slice(4, 8)]) {
      const stage = new Stage({ stages: 2 });
      stage.connect(A, B, C);
      stage.join(A, B);
      stage.loadAll();
      stage.joinWith(C, [cached]);
      expect(stage.sentTo(C, 'assign')).toEqual([{ type: 'assign', ...cached }]);
    }
  });

  it('is a new beginning: what was measured before the leave is forgotten', () => {
    const stage = new Stage();
    stage.connect(A, CHAT);
    stage.join(A);
    stage.loadAll();
    stage.say(A, { type: 'report', stage: stageReport(slice(0, 8), 512), links: [] });
    stage.say(A, { type: 'leave' });
    stage.join(A);
    stage.loadAll();
    stage.pass(1000);
    expect(roomFor(stage, 1024)).toBe(4);
  });
});

describe('measuring', () => {
  function serving(capability: Partial<Capability> = {}): Stage {
    const stage = new Stage();
    stage.connect(A, CHAT);
    stage.say(A, { type: 'join', capability: { ...node(0).capability, ...capability }, cached: [] });
    stage.loadAll();
    return stage;
  }

  it('takes the room that a stage reports, as far as its memory can hold it, and not for another slice', () => {
    const whole = slice(0, 8);
    const cases = [
      { report: stageReport(whole, 8192), memoryBytes: 1e9, expected: 16 },
      { report: stageReport(whole, 512), memoryBytes: 1e9, expected: 1 },
      { report: stageReport(slice(0, 4), 8192), memoryBytes: 1e9, expected: 4 },
      // 8 layers of 1000 bytes, and 4096 tokens at 1000/2048 bytes in each layer.
      { report: stageReport(whole, 1e9), memoryBytes: 8 * 3000, expected: 8 },
    ];
    for (const { report, memoryBytes, expected } of cases) {
      const stage = serving({ memoryBytes });
      stage.say(A, { type: 'report', stage: report, links: [] });
      stage.pass(1000);
      expect(roomFor(stage, 1024)).toBe(expected);
    }
  });

  it('listens to lenders only', () => {
    const stage = serving();
    expect(stage.say(CHAT, { type: 'report', stage: stageReport(slice(0, 8), 64), links: [] })).toEqual([]);
    stage.pass(1000);
    expect(roomFor(stage, 1024)).toBe(4);
  });

  it('asks lenders for the ways to others when they come, and again as time passes', () => {
    const stage = new Stage();
    const many = Array.from({ length: 6 }, (_, index) => peerId(20 + index));
    stage.connect(...many);
    for (const [index, peer] of many.entries()) {
      stage.handle({ type: 'round-trip', peer, seconds: index < 3 ? 0.01 : 0.2 });
      stage.join(peer);
      stage.pass(1000);
    }
    const last = peerId(25);
    expect(stage.sentTo(last, 'probe')).toHaveLength(1);
    expect(stage.sentTo(last, 'probe')[0]?.peers).not.toContain(last);
    stage.pass(PROBE_INTERVAL_MS - 2000);
    expect(stage.sentTo(last, 'probe')).toHaveLength(1);
    stage.pass(2000);
    expect(stage.sentTo(last, 'probe')).toHaveLength(2);
  });

  it('asks whoever comes back at once', () => {
    const stage = new Stage();
    stage.connect(A, B);
    for (const peer of [A, B]) stage.handle({ type: 'round-trip', peer, seconds: 0.01 });
    stage.join(A, B);
    expect(stage.sentTo(B, 'probe')).toHaveLength(1);
    stage.say(B, { type: 'leave' });
    stage.join(B);
    expect(stage.sentTo(B, 'probe')).toHaveLength(2);
  });
});
