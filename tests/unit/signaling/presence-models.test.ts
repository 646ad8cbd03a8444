import { describe, expect, it } from 'vitest';
import { newPeerId, newRequestId } from '../../../src/protocol/ids.ts';
import type { ModelId, PeerId } from '../../../src/protocol/ids.ts';
import { card, MODEL } from './scheduler/instances.ts';
import { hopsOf, sends, Stage } from './presence-stage.ts';

const OTHER = 'other' as ModelId;
const LIMIT_MS = 60_000;

const add = (stage: Stage, model = OTHER) =>
  stage.handle({ type: 'model-added', card: { ...card(), id: model } });
const drain = (stage: Stage, model = MODEL, limitMs = LIMIT_MS) =>
  stage.handle({ type: 'model-drained', model, limitMs });
const removed = (stage: Stage) =>
  stage.effects.flatMap((effect) => (effect.type === 'model-removed' ? [effect.model] : []));
const holds = (stage: Stage) => stage.presence.mesh().members.map(({ peer, model }) => [peer, model]);

/** One peer that serves the whole model, and one that asks. */
function served() {
  const stage = new Stage({ stages: 1 });
  const [server, asker] = [newPeerId(), newPeerId()];
  stage.connect(server, asker);
  stage.join(server);
  stage.loadAll();
  expect(stage.presence.covered()).toEqual([MODEL]);
  return { stage, server, asker };
}

function routed(stage: Stage, asker: PeerId, model = MODEL) {
  const requestId = newRequestId();
  expect(stage.route(asker, { requestId, model })?.type).toBe('route');
  return requestId;
}

describe('a model that is added', () => {
  it('is told to everybody before anybody is to load it, and given to who is idle', () => {
    const { stage, server, asker } = served();
    const idle = newPeerId();
    stage.connect(idle);
    stage.join(idle);
    stage.loadAll();
    stage.effects.length = 0;
    const effects = add(stage);
    for (const peer of [server, asker, idle]) {
      const [first] = sends(effects, peer);
      expect(first).toMatchObject({ type: 'models', models: [{ id: MODEL }, { id: OTHER }] });
    }
    stage.pass(60_000);
    stage.loadAll();
    stage.pass(60_000);
    stage.loadAll();
    expect(new Set(stage.presence.covered())).toEqual(new Set([MODEL, OTHER]));
    expect(hopsOf(stage.route(asker, { model: OTHER }))).toHaveLength(1);
  });

  it('is in the welcome of those who come after it, and in what is placed', () => {
    const stage = new Stage({ stages: 1 });
    const [first, second] = [newPeerId(), newPeerId()];
    add(stage);
    stage.connect(first, second);
    expect(stage.sentTo(first, 'welcome')[0]?.models.map(({ id }) => id)).toEqual([MODEL, OTHER]);
    stage.join(first, second);
    stage.loadAll();
    expect(new Set(stage.presence.covered())).toEqual(new Set([MODEL, OTHER]));
  });

  it('is unknown before', () => {
    const { stage, asker } = served();
    expect(stage.route(asker, { model: OTHER })).toMatchObject({
      type: 'route-denied',
      error: { code: 'bad-argument' },
    });
  });
});

describe('a model that is drained', () => {
  it('takes no new requests, goes on with those it has, and is gone with the last of them', () => {
    const { stage, server, asker } = served();
    const requestId = routed(stage, asker);
    drain(stage);
    expect(stage.route(asker)).toMatchObject({ type: 'route-denied', error: { code: 'model-missing' } });
    expect(stage.sentTo(asker, 'models').at(-1)?.models).toMatchObject([{ id: MODEL, isDraining: true }]);
    stage.pass(LIMIT_MS / 2);
    expect(removed(stage)).toEqual([]);
    expect(holds(stage)).toEqual([[server, MODEL]]);
    expect(stage.sentTo(server, 'unassign')).toEqual([]);

    stage.end(asker, requestId);
    expect(removed(stage)).toEqual([MODEL]);
    expect(stage.sentTo(server, 'unassign')).toHaveLength(1);
    expect(stage.sentTo(asker, 'models').at(-1)?.models).toEqual([]);
    expect(holds(stage)).toEqual([]);
    expect(stage.presence.models()).toEqual([]);
  });

  it('is gone at once where nothing runs on it', () => {
    const { stage, server } = served();
    drain(stage);
    expect(removed(stage)).toEqual([MODEL]);
    expect(stage.sentTo(server, 'unassign')).toHaveLength(1);
  });

  it('gives an answer that loses a hop another route', () => {
    const { stage, server, asker } = served();
    const requestId = routed(stage, asker);
    drain(stage);
    const other = newPeerId();
    stage.connect(other);
    stage.join(other);
    stage.disconnect(server);
    stage.pass(5_000);
    stage.loadAll();
    expect(hopsOf(stage.route(asker, { requestId, epoch: 1, exclude: [server] }))).toEqual([other]);
    expect(removed(stage)).toEqual([]);
    stage.end(asker, requestId);
    expect(removed(stage)).toEqual([MODEL]);
  });

  it('is gone when its time is over, whatever runs, and its peers are told at once', () => {
    const { stage, server, asker } = served();
    const requestId = routed(stage, asker);
    drain(stage);
    stage.pass(LIMIT_MS - 1_000);
    expect(removed(stage)).toEqual([]);
    stage.pass(2_000);
    expect(removed(stage)).toEqual([MODEL]);
    expect(stage.sentTo(server, 'unassign')).toHaveLength(1);
    expect(stage.presence.requestCount).toBe(0);
    expect(stage.route(asker, { requestId, epoch: 1 })).toMatchObject({ type: 'route-denied' });
  });

  it('denies those who wait for a first route, and keeps those who wait for another', () => {
    const { stage, server, asker } = served();
    stage.reportCache(server, 2048);
    const first = routedWith(stage, asker, 2048);
    const second = routedWith(stage, asker, 2048);
    const waiting = newRequestId();
    expect(stage.route(asker, { requestId: waiting, tokens: 2048 })?.type).toBe('route-queued');
    stage.effects.length = 0;
    drain(stage);
    expect(stage.sentTo(asker, 'route-denied')).toMatchObject([
      { requestId: waiting, error: { code: 'model-missing' } },
    ]);
    expect(stage.presence.queuedCount).toBe(0);
    stage.end(asker, first);
    expect(removed(stage)).toEqual([]);
    stage.end(asker, second);
    expect(removed(stage)).toEqual([MODEL]);
  });

  it('leaves its peers to the other models', () => {
    const { stage, server, asker } = served();
    add(stage);
    const requestId = routed(stage, asker);
    drain(stage);
    stage.effects.length = 0;
    stage.end(asker, requestId);
    expect(stage.sentTo(server, 'assign')).toMatchObject([{ model: OTHER }]);
    stage.loadAll();
    expect(stage.presence.covered()).toEqual([OTHER]);
    expect(hopsOf(stage.route(asker, { model: OTHER }))).toEqual([server]);
  });

  it('can be added again', () => {
    const { stage, server, asker } = served();
    drain(stage);
    add(stage, MODEL);
    stage.loadAll();
    expect(hopsOf(stage.route(asker))).toEqual([server]);
  });

  it('is still what somebody who comes back goes on with', () => {
    const { stage, server, asker } = served();
    const requestId = routed(stage, asker);
    drain(stage);
    stage.disconnect(server);
    const slice = { model: MODEL, layerStart: 0, layerEnd: card().layerCount };
    expect(stage.returnWith(server, slice).filter(({ type }) => type === 'unassign')).toEqual([]);
    expect(holds(stage)).toEqual([[server, MODEL]]);
    stage.end(asker, requestId);
    expect(removed(stage)).toEqual([MODEL]);
  });
});

function routedWith(stage: Stage, asker: PeerId, tokens: number) {
  const requestId = newRequestId();
  expect(stage.route(asker, { requestId, tokens })?.type).toBe('route');
  return requestId;
}
