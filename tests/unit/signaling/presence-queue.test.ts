import { describe, expect, it, vi } from 'vitest';
import { newRequestId } from '../../../src/protocol/ids.ts';
import type { ModelId, PeerId, RequestId } from '../../../src/protocol/ids.ts';
import { CACHE_RESERVE_TOKENS } from '../../../src/protocol/limits.ts';
import {
  BUSY_RETRY_SECONDS,
  CACHE_OVERCOMMIT,
  MAX_QUEUED_PER_PEER,
  MAX_QUEUED_REQUESTS,
  MAX_HELD_ASKED,
  MAX_REQUESTS_PER_PEER,
  MAX_RESUMING_REQUESTS,
  ROUTE_GRACE_MS,
} from '../../../signaling/limits.ts';
import { Measurements } from '../../../signaling/measurements.ts';
import { steadyScheduler } from '../../../signaling/scheduler/scheduler.ts';
import type { RouteDecision, RouteInput } from '../../../signaling/scheduler/types.ts';
import { hopsOf, Stage } from './presence-stage.ts';
import type { StageOptions } from './presence-stage.ts';
import { card, MODEL, peerId } from './scheduler/instances.ts';

const [A, B, ANN, BOB, CID] = [peerId(1), peerId(2), peerId(9), peerId(10), peerId(11)] as const;
/** A request that fills a peer, so that there is room for one at a time. */
const ALL = CACHE_RESERVE_TOKENS;
const CACHE_TOKENS = ALL / CACHE_OVERCOMMIT;

const serving = (...peers: readonly PeerId[]) => servingWith({}, ...peers);

function servingWith(options: StageOptions, ...peers: readonly PeerId[]): Stage {
  const stage = new Stage(options);
  stage.connect(...peers, ANN, BOB, CID);
  stage.join(...peers);
  stage.loadAll();
  for (const peer of peers) stage.reportCache(peer, CACHE_TOKENS);
  stage.effects.length = 0;
  return stage;
}

/** What somebody was told since the last call: a place, `route`, or the code of a denial. */
function told(stage: Stage, peer: PeerId): (number | string)[] {
  return stage.takeSent(peer).flatMap((message): (number | string)[] => {
    if (message.type === 'route-queued') return [message.position];
    if (message.type === 'route-denied') return [message.error.code];
    return message.type === 'route' ? ['route'] : [];
  });
}

function ask(stage: Stage, peer: PeerId, tokens = ALL): RequestId {
  const requestId = newRequestId();
  stage.route(peer, { requestId, tokens });
  return requestId;
}

describe('what routing is told', () => {
  function watched() {
    const inputs: RouteInput[] = [];
    const findRoute = (input: RouteInput) => {
      inputs.push(input);
      return steadyScheduler.findRoute(input);
    };
    const stage = new Stage({ scheduler: { ...steadyScheduler, findRoute } });
    stage.connect(A, B, ANN, BOB);
    stage.join(A, B);
    stage.loadAll();
    for (const peer of [A, B]) stage.reportCache(peer, CACHE_TOKENS);
    const last = () => {
      const input = inputs.at(-1);
      if (input === undefined) throw new Error('routing was not asked');
      return input;
    };
    return { stage, last };
  }

  it('includes the hops that still have the beginning of a conversation', () => {
    const { stage, last } = watched();
    const requestId = ask(stage, ANN, 64);
    expect(last().previous).toEqual([]);
    const [given] = stage.sentTo(ANN, 'route');
    ask(stage, BOB, 64);
    expect(last().previous).toEqual([]);
    ask(stage, ANN, 64);
    expect(last().previous).toEqual(given?.route.hops);
    ask(stage, ANN, ALL);
    stage.route(ANN, { requestId, epoch: 1, tokens: 64 });
    expect(last().previous).toEqual(given?.route.hops);
    stage.disconnect(ANN);
    stage.connect(ANN);
    ask(stage, ANN, 64);
    expect(last().previous).toEqual([]);
  });

  it('includes the load, the measured pace and where the requester is, if it lends its device', () => {
    const pace = vi.spyOn(Measurements.prototype, 'pace').mockReturnValue(2.5);
    const region = vi.spyOn(Measurements.prototype, 'region').mockReturnValue(0);
    const { stage, last } = watched();
    ask(stage, ANN, 100);
    expect(last()).toMatchObject({ requesterRegion: null, tokens: 100 });
    expect(last().members).toMatchObject([
      { peer: A, inFlight: 0, reservedTokens: 0, cacheTokens: ALL, pace: 2.5 },
      { peer: B, inFlight: 0, reservedTokens: 0, cacheTokens: ALL, pace: 2.5 },
    ]);
    ask(stage, A, 7);
    expect(last()).toMatchObject({ requesterRegion: 0, members: [{ inFlight: 1, reservedTokens: 100 }, {}] });
    pace.mockRestore();
    region.mockRestore();
  });

  it('believes no outcome of more tokens than were asked for, or of more time than there was', () => {
    const outcome = vi.spyOn(Measurements.prototype, 'outcome');
    const { stage } = watched();
    const cases = [
      [{ tokens: 64, seconds: 10 }, 1],
      [{ tokens: 65, seconds: 10 }, 0],
      [{ tokens: 1e9, seconds: 1 }, 0],
      [{ tokens: 64, seconds: 10.2 }, 0],
      [{ tokens: 10, seconds: 1e9 }, 0],
    ] as const;
    for (const [went, heard] of cases) {
      outcome.mockClear();
      const requestId = ask(stage, ANN, 64);
      stage.nowMs += 10_000;
      stage.say(ANN, { type: 'route-end', requestId, outcome: went });
      expect(outcome).toHaveBeenCalledTimes(heard);
    }
    outcome.mockRestore();
  });

  it('learns how answers went, once, and from nobody but their requester', () => {
    const outcome = vi.spyOn(Measurements.prototype, 'outcome');
    const { stage } = watched();
    const requestId = ask(stage, ANN, 64);
    const [given] = stage.sentTo(ANN, 'route');
    const went = { tokens: 20, seconds: 4 };
    stage.nowMs = 5000;
    stage.say(BOB, { type: 'route-end', requestId, outcome: went });
    stage.say(ANN, { type: 'route-end', requestId, outcome: went });
    stage.say(ANN, { type: 'route-end', requestId, outcome: went });
    expect(outcome.mock.calls).toEqual([[ANN, given?.route.hops, expect.any(Number) as number, went, 5000]]);
    expect(outcome.mock.calls[0]?.[2]).toBeGreaterThan(0);
    outcome.mockRestore();
  });
});

describe('a full mesh', () => {
  it('counts the cache that requests may come to take, twice over, but never refuses a peer without work', () => {
    const stage = serving(A);
    stage.reportCache(A, CACHE_TOKENS / 4);
    const first = ask(stage, ANN, ALL);
    expect(told(stage, ANN)).toEqual(['route']);
    ask(stage, ANN, 1);
    expect(told(stage, ANN)).toEqual([1]);
    stage.end(ANN, first);
    for (let count = 0; count < 7; count += 1) ask(stage, BOB, ALL / 32);
    // 1 + 7 · 64 of 512 tokens.
    expect(told(stage, BOB)).toEqual(Array(7).fill('route'));
    ask(stage, BOB, ALL / 32);
    expect(told(stage, BOB)).toEqual([1]);
  });

  it('puts requests in line, tells each its place, and routes them in order as room comes', () => {
    const stage = serving(A);
    const first = ask(stage, ANN);
    const second = ask(stage, BOB);
    stage.nowMs += 10;
    const third = ask(stage, CID);
    expect(stage.presence.queuedCount).toBe(2);
    expect(told(stage, CID)).toEqual([2]);
    stage.nowMs += 2000;
    stage.end(ANN, first);
    expect(stage.sentTo(BOB, 'route').map(({ route }) => route.requestId)).toEqual([second]);
    stage.handle({ type: 'tick' });
    expect(told(stage, CID)).toEqual([1]);
    stage.end(BOB, second);
    expect(stage.sentTo(CID, 'route').map(({ route }) => route.requestId)).toEqual([third]);
    expect([stage.presence.queuedCount, stage.presence.requestCount]).toEqual([0, 1]);
  });

  it('lets nobody pass who would fit where the first in line does not', () => {
    const stage = serving(A);
    const half = ask(stage, ANN, ALL / 2);
    ask(stage, BOB, ALL);
    expect(told(stage, BOB)).toEqual([1]);
    ask(stage, CID, 1);
    expect(told(stage, CID)).toEqual([2]);
    stage.end(ANN, half);
    expect(told(stage, BOB)).toEqual(['route']);
    expect(stage.presence.queuedCount).toBe(1);
  });

  it('lets requesters take turns', () => {
    const stage = serving(A);
    let running = ask(stage, ANN);
    const anns = [ask(stage, ANN), ask(stage, ANN)];
    const bobs = [ask(stage, BOB)];
    const served: RequestId[] = [];
    const owner = (id: RequestId) => (bobs.includes(id) ? BOB : ANN);
    for (let count = 0; count < 3; count += 1) {
      stage.effects.length = 0;
      stage.end(owner(running), running);
      const [given] = [...stage.sentTo(ANN, 'route'), ...stage.sentTo(BOB, 'route')];
      if (given === undefined) throw new Error('nobody was served');
      running = given.route.requestId;
      served.push(running);
    }
    expect(served).toEqual([anns[0], bobs[0], anns[1]]);
  });

  it('repeats places every few seconds, so that nobody takes the server for dead', () => {
    const stage = serving(A);
    ask(stage, ANN);
    ask(stage, BOB);
    stage.effects.length = 0;
    stage.pass(4_000);
    expect(told(stage, BOB)).toEqual([]);
    stage.pass(16_000);
    expect(told(stage, BOB)).toEqual([1, 1, 1, 1]);
  });

  it('has room again when somebody joins, ends, leaves or is cut off', () => {
    for (const relief of ['join', 'end', 'disconnect'] as const) {
      const stage = serving(A);
      const first = ask(stage, ANN);
      ask(stage, BOB);
      expect(told(stage, BOB)).toEqual([1]);
      if (relief === 'end') stage.end(ANN, first);
      if (relief === 'disconnect') stage.disconnect(ANN);
      if (relief === 'join') {
        stage.connect(B);
        stage.join(B);
        stage.loadAll();
      }
      expect(told(stage, BOB)).toEqual(['route']);
    }
  });

  it('takes routes and places back a little after the time of their requests is over', () => {
    const stage = serving(A);
    const [forgotten, waiting] = [newRequestId(), newRequestId()];
    stage.route(ANN, { requestId: forgotten, tokens: ALL, timeLimitMs: 60_000 });
    stage.route(BOB, { requestId: waiting, tokens: ALL, timeLimitMs: 20_000 });
    const cids = ask(stage, CID);
    stage.pass(20_000 + ROUTE_GRACE_MS - 1_000);
    expect(stage.presence.queuedCount).toBe(2);
    stage.pass(2_000);
    expect(stage.sentTo(BOB, 'route-denied')).toMatchObject([
      { requestId: waiting, error: { code: 'timeout', data: { timeLimitMs: 20_000 } } },
    ]);
    stage.pass(60_000 - 21_000 - 1_000);
    expect([stage.presence.requestCount, stage.presence.queuedCount]).toEqual([1, 1]);
    expect(stage.sentTo(CID, 'route')).toEqual([]);
    stage.pass(2_000);
    expect(stage.sentTo(CID, 'route').map(({ route }) => route.requestId)).toEqual([cids]);
    // What its requester says of it later changes nothing.
    stage.end(ANN, forgotten);
    expect([stage.presence.requestCount, stage.presence.queuedCount]).toEqual([1, 0]);
  });

  it('forgets who waits no more, by its own word or its end, and nobody else may say so', () => {
    const stage = serving(A);
    ask(stage, ANN);
    const bobs = ask(stage, BOB);
    ask(stage, CID);
    stage.end(CID, bobs);
    expect(stage.presence.queuedCount).toBe(2);
    stage.end(BOB, bobs);
    expect(stage.presence.queuedCount).toBe(1);
    stage.nowMs += 1000;
    stage.handle({ type: 'tick' });
    expect(stage.sentTo(CID, 'route-queued').at(-1)?.position).toBe(1);
    stage.disconnect(CID);
    expect(stage.presence.queuedCount).toBe(0);
    expect(stage.route(BOB, { requestId: bobs, tokens: ALL })).toMatchObject({ position: 1 });
    expect(stage.route(ANN, { requestId: bobs })).toMatchObject({ error: { code: 'bad-argument' } });
  });

  it('takes a request that lost its route before those that never had one', () => {
    const stage = serving(A, B);
    const first = ask(stage, ANN);
    const lost = ask(stage, BOB);
    ask(stage, CID);
    expect(told(stage, CID)).toEqual([1]);
    // B is gone, and with it the route of `lost`.
    stage.disconnect(B);
    stage.route(BOB, { requestId: lost, tokens: ALL, epoch: 1, exclude: [B] });
    expect(stage.sentTo(BOB, 'route-queued').at(-1)?.position).toBe(1);
    stage.end(ANN, first);
    expect(stage.sentTo(BOB, 'route').at(-1)?.route).toMatchObject({ requestId: lost, epoch: 1 });
  });

  it('remembers that a request lost its route when it asks again from its place in line', () => {
    const stage = serving(A, B);
    ask(stage, ANN);
    const lost = ask(stage, BOB);
    ask(stage, CID);
    stage.disconnect(B);
    for (const epoch of [1, 2]) stage.route(BOB, { requestId: lost, tokens: ALL, epoch });
    expect(stage.sentTo(BOB, 'route-queued').at(-1)?.position).toBe(1);
    expect(stage.presence.queuedCount).toBe(2);
  });

  it('does not make who lost its route wait for a new request that finds no room', () => {
    const stage = serving(A, B);
    const kept = ask(stage, ANN, ALL / 2);
    const lost = ask(stage, BOB, ALL / 4);
    stage.disconnect(B);
    ask(stage, CID, ALL);
    expect(told(stage, CID)).toEqual([1]);
    expect(stage.route(BOB, { requestId: lost, tokens: ALL / 4, epoch: 1 })).toMatchObject({ type: 'route' });
    expect(stage.route(BOB, { tokens: 1 })).toMatchObject({ type: 'route-queued', position: 2 });
    // Nobody took this one's route, so giving it up is no way past the others; a hop that it found wrong is.
    expect(stage.route(ANN, { requestId: kept, tokens: 1, epoch: 1 })).toMatchObject({ position: 3 });
  });

  it('does not hold up a request that found a hop of its route wrong', () => {
    const stage = serving(A, B);
    const wrong = ask(stage, ANN, ALL / 2);
    for (const tokens of [ALL, ALL / 4]) ask(stage, BOB, tokens);
    const [{ route } = { route: null }] = stage.sentTo(ANN, 'route');
    const exclude = route?.hops.map(({ peer }) => peer) ?? [];
    expect(exclude).toHaveLength(1);
    ask(stage, CID, ALL);
    stage.effects.length = 0;
    stage.route(ANN, { requestId: wrong, tokens: ALL / 2, epoch: 1, exclude });
    expect(told(stage, ANN)).toEqual([1]);
  });

  it('has a limit for those that lost their route, too', () => {
    let isFull = false;
    const hops = [{ peer: A, layerStart: 0, layerEnd: 8 }];
    const findRoute = (): RouteDecision =>
      isFull ? { kind: 'full' } : { kind: 'route', hops, secondsPerToken: 1 };
    const stage = new Stage({ scheduler: { ...steadyScheduler, findRoute } });
    stage.connect(A);
    stage.join(A);
    stage.loadAll();
    const running: [PeerId, RequestId][] = [];
    for (let requester = 100; running.length <= MAX_RESUMING_REQUESTS; requester += 1) {
      stage.connect(peerId(requester));
      for (let count = 0; count < MAX_REQUESTS_PER_PEER; count += 1) {
        running.push([peerId(requester), ask(stage, peerId(requester), 1)]);
      }
    }
    isFull = true;
    stage.effects.length = 0;
    const codes = running
      .slice(0, MAX_RESUMING_REQUESTS + 1)
      .map(([peer, requestId]) => stage.route(peer, { requestId, tokens: 1, epoch: 1, exclude: [A] }));
    expect(codes.filter((message) => message?.type === 'route-queued')).toHaveLength(MAX_RESUMING_REQUESTS);
    expect(codes.at(-1)).toMatchObject({ type: 'route-denied', error: { code: 'busy' } });
  });

  it('asks about few of those that hold themselves up at a time, and about all of them in turn', () => {
    let asked = 0;
    let mayServe = false;
    const hops = [{ peer: A, layerStart: 0, layerEnd: 8 }];
    const findRoute = ({ exclude }: RouteInput): RouteDecision => {
      asked += 1;
      return exclude.size > 0 && !mayServe ? { kind: 'full' } : { kind: 'route', hops, secondsPerToken: 1 };
    };
    const stage = new Stage({ scheduler: { ...steadyScheduler, findRoute } });
    stage.connect(A, CID);
    stage.join(A);
    stage.loadAll();
    const count = 3 * MAX_HELD_ASKED;
    for (let requester = 100; requester < 100 + count; requester += 1) {
      stage.connect(peerId(requester));
      stage.route(peerId(requester), { tokens: 1, exclude: [B] });
    }
    expect(stage.presence.queuedCount).toBe(count);
    asked = 0;
    stage.pass(1_000);
    expect(asked).toBeLessThanOrEqual(2 * MAX_HELD_ASKED + 2);
    // They hold up nobody else.
    expect(ask(stage, CID, 1)).toBe(stage.sentTo(CID, 'route')[0]?.route.requestId);
    mayServe = true;
    stage.pass(4_000);
    expect(stage.presence.queuedCount).toBe(0);
  });

  it('is not held up by a request that excludes whom the others can use', () => {
    const stage = serving(A, B);
    const requests = [ask(stage, ANN), ask(stage, ANN)];
    const [onA] = stage.sentTo(ANN, 'route').map(({ route }) => route.hops[0]?.peer);
    expect(onA).toBe(A);
    stage.route(BOB, { tokens: ALL, exclude: [A] });
    ask(stage, CID);
    stage.effects.length = 0;
    stage.end(ANN, requests[0] ?? newRequestId());
    expect(hopsOf(stage.sentTo(CID, 'route')[0])).toEqual([A]);
    expect(stage.sentTo(BOB, 'route')).toEqual([]);
    stage.end(ANN, requests[1] ?? newRequestId());
    expect(hopsOf(stage.sentTo(BOB, 'route')[0])).toEqual([B]);
  });

  it('says no in words when the line is too long, for one requester or for all', () => {
    const stage = serving(A);
    ask(stage, CID);
    for (let count = 0; count < MAX_QUEUED_PER_PEER; count += 1) ask(stage, ANN);
    expect(stage.route(ANN, { tokens: ALL })).toMatchObject({
      type: 'route-denied',
      error: {
        code: 'busy',
        message: `model has no room: ${MAX_QUEUED_PER_PEER} requests of this peer wait for room already. Ask again in ${BUSY_RETRY_SECONDS} s.`,
        data: { retryAfterSeconds: BUSY_RETRY_SECONDS, queuePosition: MAX_QUEUED_PER_PEER + 1 },
      },
    });
    for (let requester = 100; stage.presence.queuedCount < MAX_QUEUED_REQUESTS; requester += 1) {
      stage.connect(peerId(requester));
      for (let count = 0; count < MAX_QUEUED_PER_PEER; count += 1) ask(stage, peerId(requester));
    }
    expect(stage.presence.queuedCount).toBe(MAX_QUEUED_REQUESTS);
    expect(stage.route(BOB, { tokens: ALL })).toMatchObject({ error: { code: 'busy' } });
  });

  it('is as long for the gateway, which asks for many, as for everybody together', () => {
    const stage = servingWith({ isGateway: (peer) => peer === ANN }, A);
    for (let count = 0; count < MAX_REQUESTS_PER_PEER; count += 1) ask(stage, ANN, 1);
    expect(stage.presence.requestCount).toBe(MAX_REQUESTS_PER_PEER);
    for (let count = 0; count < MAX_QUEUED_REQUESTS; count += 1) ask(stage, ANN);
    expect(stage.presence.queuedCount).toBe(MAX_QUEUED_REQUESTS);
    expect(stage.route(ANN, { tokens: ALL })).toMatchObject({
      type: 'route-denied',
      error: { code: 'busy', data: { queuePosition: MAX_QUEUED_REQUESTS + 1 } },
    });
  });

  it('denies those in line what nobody serves any more', () => {
    const stage = serving(A);
    ask(stage, ANN);
    ask(stage, BOB);
    ask(stage, CID);
    expect(stage.presence.queuedCount).toBe(2);
    stage.disconnect(A);
    expect([stage.sentTo(BOB, 'route-denied'), stage.sentTo(CID, 'route-denied')]).toMatchObject([
      [{ error: { code: 'no-route' } }],
      [{ error: { code: 'no-route' } }],
    ]);
    expect(stage.presence.queuedCount).toBe(0);
  });

  it('of one model leaves the others alone', () => {
    const [small, large] = [card({ id: 'small' as ModelId }), card()];
    const stage = new Stage({ models: [small, large] });
    stage.connect(A, B, ANN, BOB);
    stage.join(A, B);
    stage.loadAll();
    for (const peer of [A, B]) stage.reportCache(peer, CACHE_TOKENS);
    expect(stage.presence.covered()).toEqual(['small', MODEL]);
    stage.route(ANN, { tokens: ALL });
    expect(stage.route(ANN, { tokens: ALL })).toMatchObject({ type: 'route-queued' });
    expect(stage.route(BOB, { tokens: ALL, model: small.id })).toMatchObject({ type: 'route' });
  });

  it('counts the requests of one requester over all models', () => {
    const models = [card({ id: 'small' as ModelId }), card()];
    const findRoute = (): RouteDecision => ({ kind: 'full' });
    const stage = new Stage({ models, scheduler: { ...steadyScheduler, findRoute } });
    stage.connect(ANN);
    const asked = Array.from({ length: MAX_QUEUED_PER_PEER + 1 }, (_, index) =>
      stage.route(ANN, { tokens: 1, model: models[index % 2]?.id ?? MODEL }),
    );
    expect(asked.at(-2)).toMatchObject({ type: 'route-queued' });
    expect(asked.at(-1)).toMatchObject({ type: 'route-denied', error: { code: 'busy' } });
  });
});
