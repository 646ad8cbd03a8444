import { describe, expect, it } from 'vitest';
import { decodeClientMessage } from '../../../src/protocol/signaling.ts';
import type { LayerWish } from '../../../src/protocol/signaling.ts';
import type { ModelId, PeerId } from '../../../src/protocol/ids.ts';
import { CAPABILITY } from '../contributor/fakes.ts';
import { refusalOf } from '../../fixtures/errors.ts';
import { hopsOf, Stage } from './presence-stage.ts';
import { card, LAYER_BYTES, MODEL, node, peerId, slice } from './scheduler/instances.ts';

const [A, B, CHAT] = [peerId(1), peerId(2), peerId(9)] as const;
const OTHER = 'other' as ModelId;

function joinFor(stage: Stage, peer: PeerId, wish: LayerWish, memoryBytes = 1e9) {
  const { capability } = node(0, { memoryBytes });
  return stage.say(peer, { type: 'join', capability, cached: [], wish });
}

describe('a wish for layers', () => {
  it('is what the peer is given, and routes lead over it', () => {
    const stage = new Stage();
    stage.connect(A, B, CHAT);
    joinFor(stage, B, { layerStart: 3, layerEnd: 8 });
    expect(stage.sentTo(B, 'assign')).toEqual([{ type: 'assign', ...slice(3, 8) }]);
    joinFor(stage, A, { model: MODEL, layerStart: 0, layerEnd: 3 });
    expect(stage.sentTo(A, 'assign')).toEqual([{ type: 'assign', ...slice(0, 3) }]);
    stage.loadAll();
    expect(hopsOf(stage.route(CHAT))).toEqual([A, B]);
  });

  it('is for the first model where none is named, and for any that is', () => {
    const models = [card(), card({ id: OTHER })];
    const stage = new Stage({ models });
    stage.connect(A, B);
    joinFor(stage, A, { layerStart: 0, layerEnd: 2 });
    joinFor(stage, B, { model: OTHER, layerStart: 0, layerEnd: 2 });
    expect(stage.sentTo(A, 'assign')).toMatchObject([{ model: MODEL }]);
    expect(stage.sentTo(B, 'assign')).toMatchObject([{ model: OTHER }]);
  });

  it.each([
    [{ layerStart: 0, layerEnd: 9 }, 'bad-argument', 'has 8 layers, 0:8'],
    [{ model: OTHER, layerStart: 0, layerEnd: 1 }, 'model-missing', 'offers model, not other'],
    [{ layerStart: 0, layerEnd: 8 }, 'out-of-memory', 'lends 0.0 MiB'],
  ])('of %o is refused as %s', (wish, code, words) => {
    const stage = new Stage();
    stage.connect(A);
    const [refusal] = joinFor(stage, A, wish, 7 * LAYER_BYTES);
    expect(refusal).toMatchObject({ type: 'error', error: { code } });
    expect(JSON.stringify(refusal)).toContain(words);
    expect(stage.presence.mesh().members).toEqual([]);
    stage.pass(60_000);
    expect(stage.sentTo(A, 'assign')).toEqual([]);
  });

  it('that is refused of who comes back takes its slice from it', () => {
    const stage = new Stage();
    stage.connect(B);
    stage.resume(A);
    const { capability } = node(0);
    const wish = { layerStart: 0, layerEnd: 9 };
    const answers = stage.say(A, { type: 'join', capability, cached: [], holds: slice(0, 8), wish });
    expect(answers.map(({ type }) => type)).toEqual(['unassign', 'error']);
    expect(stage.presence.covered()).toEqual([]);
  });

  it('for no layers at all is no message', async () => {
    const message = {
      type: 'join',
      capability: CAPABILITY,
      cached: [],
      wish: { layerStart: 3, layerEnd: 3 },
    };
    const refusal = await refusalOf(() => decodeClientMessage(JSON.stringify(message)));
    expect(refusal).toMatchObject({ code: 'bad-message' });
    expect(refusal.message).toContain('wish');
  });

  it('is kept while time passes and the mesh is rebalanced', () => {
    const stage = new Stage();
    stage.connect(A, B);
    joinFor(stage, A, { layerStart: 0, layerEnd: 4 });
    stage.join(B);
    stage.loadAll();
    stage.pass(10 * 60_000);
    expect(stage.presence.mesh().members).toMatchObject([
      { peer: A, layerStart: 0, layerEnd: 4 },
      { peer: B, layerStart: 4, layerEnd: 8 },
    ]);
  });
});
