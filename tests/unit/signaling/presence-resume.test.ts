import { describe, expect, it } from 'vitest';
import { newRequestId } from '../../../src/protocol/ids.ts';
import type { PeerId, RequestId } from '../../../src/protocol/ids.ts';
import type { Route } from '../../../src/protocol/route.ts';
import { CACHE_RESERVE_TOKENS } from '../../../src/protocol/limits.ts';
import type { ClientMessage, ServerMessage } from '../../../src/protocol/signaling.ts';
import {
  MAX_REQUESTS_PER_PEER,
  MAX_RESUME_SETTLE_MS,
  RESTART_WATCH_MS,
  RESUME_SETTLE_MS,
  RESUME_WORD_MS,
} from '../../../signaling/limits.ts';
import { hopsOf, Stage } from './presence-stage.ts';
import { card, MODEL, node, peerId, slice } from './scheduler/instances.ts';

const [A, B, C, D, CHAT, OTHER] = [1, 2, 3, 4, 8, 9].map(peerId) as [
  PeerId,
  PeerId,
  PeerId,
  PeerId,
  PeerId,
  PeerId,
];
const HOUR_MS = 3_600_000;

const states = (stage: Stage) => stage.presence.mesh().members.map(({ peer, state }) => [peer, state]);

function routeOver(requestId: RequestId, ...peers: readonly PeerId[]): Route {
  const layers = 8 / peers.length;
  const hops = peers.map((peer, index) => ({
    peer,
    layerStart: index * layers,
    layerEnd: (index + 1) * layers,
  }));
  return { requestId, epoch: 0, model: MODEL, hops };
}

function resumeRoute(stage: Stage, peer: PeerId, route: Route, tokens = 64): ServerMessage[] {
  return stage.say(peer, { type: 'route-resume', route, tokens, timeLimitMs: HOUR_MS });
}

describe('a peer that comes back', () => {
  it('goes on with what it holds, and is given nothing else', () => {
    const stage = new Stage({ stages: 2 });
    expect(stage.returnWith(A, slice(0, 4))).toEqual([]);
    expect(stage.returnWith(B, slice(4, 8))).toEqual([]);
    expect(states(stage)).toEqual([
      [A, 'serving'],
      [B, 'serving'],
    ]);
    expect(stage.presence.covered()).toEqual([MODEL]);
    stage.connect(CHAT);
    expect(hopsOf(stage.route(CHAT))).toEqual([A, B]);
    stage.pass(60_000);
    for (const peer of [A, B]) expect(stage.sentTo(peer, 'assign')).toEqual([]);
  });

  it.each([
    ['more layers than there are', slice(0, 9)],
    ['no layers', slice(3, 3)],
    ['an unknown model', { ...slice(0, 4), model: 'gpt' as typeof MODEL }],
  ])('is told to free %s', (_, holds) => {
    const stage = new Stage();
    expect(stage.returnWith(A, holds)).toEqual([{ type: 'unassign' }]);
    expect(states(stage)).toEqual([]);
    stage.pass(RESUME_SETTLE_MS);
    expect(states(stage)).toEqual([[A, 'loading']]);
  });

  it('is told to free what does not fit into the memory that it lends', () => {
    const stage = new Stage();
    stage.resume(A);
    const capability = { ...node(0).capability, memoryBytes: 2 * card().bytesPerLayer };
    expect(stage.say(A, { type: 'join', capability, cached: [], holds: slice(0, 8) })).toEqual([
      { type: 'unassign' },
    ]);
  });

  it('is believed only after it showed that it was here, once, and not in place of what it was given', () => {
    const stage = new Stage();
    const capability = node(0).capability;
    const claim: ClientMessage & { type: 'join' } = {
      type: 'join',
      capability,
      cached: [],
      holds: slice(0, 8),
    };
    stage.connect(A);
    expect(stage.say(A, claim)[0]).toEqual({ type: 'unassign' });
    expect(states(stage)).toEqual([[A, 'loading']]);

    const twice = new Stage({ stages: 2 });
    twice.returnWith(A, slice(0, 4));
    expect(twice.say(A, { ...claim, holds: slice(4, 8) })).toEqual([{ type: 'assign', ...slice(0, 4) }]);
    expect(twice.presence.mesh().members).toMatchObject([{ peer: A, layerStart: 0, layerEnd: 4 }]);
    twice.say(A, { type: 'leave' });
    expect(twice.say(A, claim)).toContainEqual({ type: 'unassign' });
  });

  it('may have loaded what it holds since then, unless it was given something else', () => {
    const stage = new Stage({ stages: 2 });
    stage.connect(B);
    stage.returnWith(A, undefined);
    stage.pass(20_000);
    const capability = node(0).capability;
    expect(states(stage)).toEqual([]);
    stage.say(A, { type: 'join', capability, cached: [], holds: slice(0, 4) });
    expect(states(stage)).toEqual([[A, 'serving']]);

    const given = new Stage();
    given.returnWith(A, undefined);
    given.pass(20_000);
    expect(given.sentTo(A, 'assign')).toHaveLength(1);
    given.say(A, { type: 'join', capability, cached: [], holds: slice(0, 4) });
    expect(given.sentTo(A, 'assign')).toEqual(Array(2).fill({ type: 'assign', ...slice(0, 8) }));
    expect(states(given)).toEqual([[A, 'loading']]);
    given.say(A, { type: 'join', capability, cached: [], holds: slice(0, 8) });
    expect(states(given)).toEqual([[A, 'serving']]);
  });

  it('keeps its slice although others were given it meanwhile', () => {
    const stage = new Stage({ stages: 2 });
    stage.connect(A, B, C);
    stage.join(A, B);
    stage.loadAll();
    stage.disconnect(A);
    stage.join(C);
    expect(stage.sentTo(C, 'assign')).toHaveLength(1);
    expect(stage.returnWith(A, slice(0, 4))).toEqual([]);
    expect(stage.presence.covered()).toEqual([MODEL]);
  });
});

describe('after a restart', () => {
  it('nobody is moved and nothing is given out until those who come back are here', () => {
    const stage = new Stage({ stages: 2 });
    stage.connect(D);
    stage.returnWith(A, slice(0, 4));
    stage.join(D);
    stage.pass(RESUME_SETTLE_MS - 1000);
    expect(states(stage)).toEqual([[A, 'serving']]);
    stage.returnWith(B, slice(4, 8));
    stage.pass(RESUME_SETTLE_MS - 1000);
    expect(states(stage)).toHaveLength(2);
    expect(stage.presence.covered()).toEqual([MODEL]);
    stage.pass(1000);
    expect(states(stage)).toEqual([
      [A, 'serving'],
      [D, 'loading'],
      [B, 'serving'],
    ]);
  });

  it('waits no longer than its limit, whoever still comes', () => {
    const stage = new Stage({ stages: 2 });
    stage.connect(D);
    stage.join(D);
    stage.returnWith(A, slice(0, 4));
    stage.connect(C);
    stage.join(C);
    for (let passedMs = 0; passedMs < MAX_RESUME_SETTLE_MS; passedMs += 1000) {
      expect(stage.sentTo(C, 'assign')).toEqual([]);
      stage.resume(peerId(20 + passedMs / 1000));
      stage.pass(1000);
    }
    expect(stage.sentTo(C, 'assign')).toHaveLength(1);
  });

  it('says to whoever asks in the meantime that it is worth to wait', () => {
    const stage = new Stage({ stages: 2 });
    stage.connect(CHAT);
    stage.returnWith(A, slice(0, 4));
    expect(stage.route(CHAT)).toMatchObject({
      type: 'route-denied',
      error: { code: 'no-route', data: { loading: true } },
    });
    stage.pass(RESUME_SETTLE_MS);
    expect(stage.route(CHAT)).not.toMatchObject({ error: { data: { loading: true } } });
  });

  it('does not wait for somebody whom it knows, nor long after the start', () => {
    const known = new Stage();
    known.connect(A, B);
    known.disconnect(A);
    known.resume(A);
    known.join(B);
    expect(known.sentTo(B, 'assign')).toHaveLength(1);

    const old = new Stage();
    old.pass(RESTART_WATCH_MS);
    old.resume(A);
    old.connect(B);
    old.join(B);
    expect(old.sentTo(B, 'assign')).toHaveLength(1);
  });

  it('leaves the layers of somebody who goes while it waits to the placement after', () => {
    const stage = new Stage({ stages: 2 });
    stage.returnWith(A, slice(0, 4));
    stage.returnWith(B, slice(4, 8));
    stage.connect(C);
    stage.join(C);
    stage.disconnect(A);
    expect(stage.sentTo(C, 'assign')).toEqual([]);
    stage.pass(RESUME_SETTLE_MS);
    expect(stage.sentTo(C, 'assign')).toEqual([{ type: 'assign', ...slice(0, 4) }]);
  });
});

describe('routes that go on', () => {
  it('are counted over their hops, as soon as all of them are back, until they end', () => {
    const stage = new Stage({ stages: 2 });
    const requestId = newRequestId();
    stage.resume(CHAT);
    expect(resumeRoute(stage, CHAT, routeOver(requestId, A, B))).toEqual([]);
    expect(stage.presence.requestCount).toBe(0);
    stage.returnWith(A, slice(0, 4));
    expect(stage.presence.requestCount).toBe(0);
    stage.returnWith(B, slice(4, 8));
    expect([stage.presence.requestCount, stage.presence.inFlight(A), stage.presence.inFlight(B)]).toEqual([
      1, 1, 1,
    ]);
    stage.say(CHAT, { type: 'route-end', requestId });
    expect([stage.presence.requestCount, stage.presence.inFlight(A)]).toEqual([0, 0]);
  });

  it('are not counted when they end, or their requester goes, before their hops are back', () => {
    for (const end of ['end', 'disconnect', 'other'] as const) {
      const stage = new Stage({ stages: 2 });
      const requestId = newRequestId();
      stage.resume(CHAT);
      stage.connect(OTHER);
      resumeRoute(stage, CHAT, routeOver(requestId, A, B));
      if (end === 'disconnect') stage.disconnect(CHAT);
      else stage.say(end === 'end' ? CHAT : OTHER, { type: 'route-end', requestId });
      stage.returnWith(A, slice(0, 4));
      stage.returnWith(B, slice(4, 8));
      expect(stage.presence.requestCount).toBe(end === 'other' ? 1 : 0);
    }
  });

  it('are forgotten when a hop holds something else, or stays away', () => {
    const stage = new Stage({ stages: 2 });
    stage.resume(CHAT);
    resumeRoute(stage, CHAT, routeOver(newRequestId(), A, B));
    stage.returnWith(A, slice(4, 8));
    stage.pass(RESUME_WORD_MS);
    stage.returnWith(B, slice(4, 8));
    stage.disconnect(A);
    stage.returnWith(A, slice(0, 4));
    expect(stage.presence.requestCount).toBe(0);
  });

  it('are taken from whoever came back only, once each, as many as it could have', () => {
    const stage = new Stage();
    stage.returnWith(A, slice(0, 8));
    stage.connect(OTHER);
    resumeRoute(stage, OTHER, routeOver(newRequestId(), A));
    expect(stage.presence.requestCount).toBe(0);
    stage.disconnect(OTHER);
    stage.resume(OTHER);
    stage.disconnect(OTHER);
    stage.connect(OTHER);
    resumeRoute(stage, OTHER, routeOver(newRequestId(), A));
    expect(stage.presence.requestCount).toBe(0);

    stage.resume(CHAT);
    const requestId = newRequestId();
    resumeRoute(stage, CHAT, routeOver(requestId, A));
    resumeRoute(stage, CHAT, routeOver(requestId, A));
    expect(stage.presence.inFlight(A)).toBe(1);
    resumeRoute(stage, CHAT, routeOver(newRequestId(), A), CACHE_RESERVE_TOKENS + 1);
    resumeRoute(stage, CHAT, { ...routeOver(newRequestId(), A), model: 'gpt' as typeof MODEL });
    expect(stage.presence.inFlight(A)).toBe(1);
    for (let count = 0; count < 2 * MAX_REQUESTS_PER_PEER; count += 1) {
      resumeRoute(stage, CHAT, routeOver(newRequestId(), count % 2 === 0 ? A : B));
    }
    expect(stage.presence.requestCount).toBeLessThanOrEqual(MAX_REQUESTS_PER_PEER);
    expect(stage.presence.requestCount).toBeGreaterThan(MAX_REQUESTS_PER_PEER / 2 - 2);
  });

  it('are nobody else to take over', () => {
    const stage = new Stage();
    stage.returnWith(A, slice(0, 8));
    stage.resume(CHAT);
    stage.resume(OTHER);
    const requestId = newRequestId();
    resumeRoute(stage, CHAT, routeOver(requestId, A));
    resumeRoute(stage, OTHER, routeOver(requestId, A));
    stage.say(OTHER, { type: 'route-end', requestId });
    expect(stage.presence.requestCount).toBe(1);
    expect(stage.route(OTHER, { requestId })).toMatchObject({ type: 'route-denied' });
  });

  it('lose a hop like any other, and go before new requests when they ask for another route', () => {
    const stage = new Stage();
    stage.returnWith(A, slice(0, 8));
    stage.returnWith(B, slice(0, 8));
    stage.resume(CHAT);
    const requestId = newRequestId();
    resumeRoute(stage, CHAT, routeOver(requestId, A));
    stage.disconnect(A);
    expect(hopsOf(stage.route(CHAT, { requestId, epoch: 1, exclude: [A] }))).toEqual([B]);
    expect(stage.presence.requestCount).toBe(1);
  });

  it('work again when the hop that was away is back: who moves waits for them', () => {
    const stage = new Stage();
    stage.connect(A, B, CHAT);
    stage.join(A);
    stage.loadAll();
    const requestId = newRequestId();
    expect(hopsOf(stage.route(CHAT, { requestId }))).toEqual([A]);
    stage.disconnect(A);
    stage.returnWith(A, slice(0, 8));
    stage.join(B);
    stage.loadAll();
    // It is to take nothing, now that it is too small for anything; its request may still be answered.
    stage.say(A, { type: 'join', capability: { ...node(0).capability, memoryBytes: 1 }, cached: [] });
    stage.pass(5000);
    expect(stage.sentTo(A, 'unassign')).toEqual([]);
    stage.say(CHAT, { type: 'route-end', requestId });
    expect(stage.sentTo(A, 'unassign')).toHaveLength(1);
  });
});

describe('word of a loaded slice', () => {
  it('that was sent before the peer was told otherwise does not count when it is given the slice again', () => {
    const stage = new Stage();
    stage.connect(A);
    const joinWith = (memoryBytes: number) =>
      stage.say(A, { type: 'join', capability: { ...node(0).capability, memoryBytes }, cached: [] });
    joinWith(1e9);
    joinWith(1);
    joinWith(1e9);
    const assigns = stage.sentTo(A, 'assign');
    expect(assigns.map(({ turn }) => turn)).toEqual([undefined, expect.any(Number)]);
    const turn = assigns[1]?.turn ?? 0;
    expect(stage.say(A, { type: 'serving', ...slice(0, 8) })).toEqual([]);
    expect(stage.say(A, { type: 'serving', ...slice(0, 8), turn: turn - 1 })).toEqual([]);
    expect(states(stage)).toEqual([[A, 'loading']]);
    stage.say(A, { type: 'serving', ...slice(0, 8), turn });
    expect(states(stage)).toEqual([[A, 'serving']]);
  });
});

describe('reloading', () => {
  const lost = { code: 'device-lost', message: 'the device is gone' } as const;

  it('takes a slice out of routes until it serves again', () => {
    const stage = new Stage();
    stage.connect(A, B, CHAT);
    stage.join(A, B);
    stage.loadAll();
    stage.say(A, { type: 'reloading', ...slice(0, 8), error: lost });
    expect(states(stage)).toEqual([
      [A, 'loading'],
      [B, 'serving'],
    ]);
    for (let count = 0; count < 3; count += 1) expect(hopsOf(stage.route(CHAT))).toEqual([B]);
    stage.say(A, { type: 'serving', ...slice(0, 8) });
    expect(hopsOf(stage.route(CHAT))).toEqual([A]);
    expect(stage.sentTo(A, 'assign')).toHaveLength(1);
  });

  it('of a slice that the peer does not serve changes nothing', () => {
    const stage = new Stage({ stages: 2 });
    stage.connect(A, B, CHAT);
    stage.join(A, B);
    stage.loadAll();
    const before = states(stage);
    stage.say(A, { type: 'reloading', ...slice(4, 8), error: lost });
    stage.say(CHAT, { type: 'reloading', ...slice(4, 8), error: lost });
    expect(states(stage)).toEqual(before);
  });

  it('of a peer that was to move makes the move at once', () => {
    const stage = new Stage();
    stage.connect(A, B, CHAT);
    stage.join(A);
    stage.loadAll();
    stage.route(CHAT);
    stage.join(B);
    stage.loadAll();
    stage.say(A, { type: 'join', capability: { ...node(0).capability, memoryBytes: 1 }, cached: [] });
    expect(stage.sentTo(A, 'unassign')).toEqual([]);
    stage.say(A, { type: 'reloading', ...slice(0, 8), error: lost });
    expect(stage.sentTo(A, 'unassign')).toHaveLength(1);
  });
});
