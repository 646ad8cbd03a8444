import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ErrorCode } from '../../../src/protocol/errors.ts';
import { newRequestId } from '../../../src/protocol/ids.ts';
import type { PeerId, RequestId } from '../../../src/protocol/ids.ts';
import {
  ACCUSATION_MS,
  ROLL_CALL_MS,
  ROLL_CALL_REST_MS,
  SUSPECT_AVOID_MS,
  SUSPECT_MS,
} from '../../../signaling/limits.ts';
import { hopsOf, Stage } from './presence-stage.ts';
import { MODEL, node, peerId, slice } from './scheduler/instances.ts';

const [A, B, C, ANN, BOB, EVE] = [1, 2, 3, 7, 8, 9].map(peerId) as [
  PeerId,
  PeerId,
  PeerId,
  PeerId,
  PeerId,
  PeerId,
];
const TICK_MS = 1000;

/** Two copies; Ann and Bob come from addresses of their own. */
function meshOf(...lenders: readonly PeerId[]): Stage {
  const stage = new Stage();
  stage.connect(...lenders);
  stage.connectFrom('10.0.0.1', ANN);
  stage.connectFrom('10.0.0.2', BOB);
  stage.join(...lenders);
  stage.loadAll();
  return stage;
}

/** A request of theirs runs over the peer. */
function requestOver(stage: Stage, requester: PeerId, peer: PeerId): RequestId {
  const requestId = newRequestId();
  const others = stage.presence
    .mesh()
    .members.flatMap((member) => (member.peer === peer ? [] : [member.peer]));
  expect(hopsOf(stage.route(requester, { requestId, exclude: others }))).toEqual([peer]);
  return requestId;
}

function accuse(
  stage: Stage,
  requester: PeerId,
  peer: PeerId,
  code: ErrorCode,
  requestId = requestOver(stage, requester, peer),
) {
  return stage.say(requester, { type: 'suspect', requestId, peer, error: { code, message: 'it failed' } });
}

function answerRollCalls(stage: Stage, ...peers: readonly PeerId[]): void {
  for (const peer of peers) {
    for (const { nonce } of stage.sentTo(peer, 'roll-call')) stage.say(peer, { type: 'present', nonce });
  }
}

const stateOf = (stage: Stage, peer: PeerId) =>
  stage.presence.mesh().members.find((member) => member.peer === peer)?.state ?? null;

describe('a requester that suspects a hop', () => {
  it('is given others for a while, as long as there are others', () => {
    const stage = meshOf(A, B);
    accuse(stage, ANN, A, 'timeout');
    answerRollCalls(stage, A);
    for (let count = 0; count < 4; count += 1) expect(hopsOf(stage.route(ANN))).toEqual([B]);
    expect(hopsOf(stage.route(BOB))).toEqual([A]);
    stage.disconnect(B);
    expect(hopsOf(stage.route(ANN))).toEqual([A]);
    stage.connect(B);
    stage.join(B);
    stage.loadAll();
    expect(hopsOf(stage.route(ANN))).toEqual([B]);
    stage.skip(SUSPECT_AVOID_MS);
    expect([hopsOf(stage.route(ANN)), hopsOf(stage.route(ANN))]).toContainEqual([A]);
  });

  it('is given others for one of two, where the other is the only one with its layers', () => {
    const stage = new Stage({ stages: 2 });
    stage.connect(A, B, C);
    stage.connectFrom('10.0.0.1', ANN);
    stage.join(A, B);
    stage.loadAll();
    stage.join(C);
    stage.loadAll();
    const requestId = newRequestId();
    const hops = hopsOf(stage.route(ANN, { requestId })) as readonly PeerId[];
    expect(hops).toHaveLength(2);
    const spare = [A, B, C].filter((peer) => !hops.includes(peer));
    for (const peer of hops) accuse(stage, ANN, peer, 'timeout', requestId);
    answerRollCalls(stage, ...hops);
    expect(hopsOf(stage.route(ANN))).toEqual(expect.arrayContaining(spare));
  });

  it('is heard about the hops of its own requests only, also once it has another route', () => {
    const stage = meshOf(A, B);
    const requestId = requestOver(stage, ANN, A);
    accuse(stage, BOB, A, 'timeout', requestId);
    accuse(stage, ANN, B, 'timeout', requestId);
    accuse(stage, ANN, A, 'timeout', newRequestId());
    accuse(stage, A, A, 'timeout', requestId);
    expect([A, B].flatMap((peer) => stage.sentTo(peer, 'roll-call'))).toEqual([]);
    stage.route(ANN, { requestId, epoch: 1, exclude: [A] });
    accuse(stage, ANN, A, 'timeout', requestId);
    expect(stage.sentTo(A, 'roll-call')).toHaveLength(1);
    stage.end(ANN, requestId);
  });

  it('is given others, and is in the log once, where it cut a peer off; nobody else hears of it', () => {
    const stage = meshOf(A, B);
    for (const [by, peer] of [
      [ANN, A],
      [ANN, A],
      [BOB, A],
      [ANN, ANN],
      [ANN, EVE],
    ] as const) {
      stage.say(by, { type: 'suspect', peer, error: { code: 'bad-frame', message: 'a flood' } });
    }
    const lines = stage.effects.flatMap((effect) => (effect.type === 'log' ? [effect.line] : []));
    expect(lines.filter((line) => line.includes('cut off'))).toEqual([
      `${ANN} cut off ${A}: a flood`,
      `${BOB} cut off ${A}: a flood`,
    ]);
    expect([hopsOf(stage.route(ANN)), hopsOf(stage.route(ANN))]).toEqual([[B], [B]]);
    expect([stateOf(stage, A), stage.sentTo(A, 'roll-call')]).toEqual(['serving', []]);
  });

  it('is in the log with the peer that it names, once for each', () => {
    const stage = meshOf(A, B);
    const requestId = requestOver(stage, ANN, A);
    for (let count = 0; count < 50; count += 1) accuse(stage, ANN, A, 'timeout', requestId);
    const lines = stage.effects.flatMap((effect) =>
      effect.type === 'log' && effect.line.includes('suspects') ? [effect.line] : [],
    );
    expect(lines).toEqual([`${ANN} suspects ${A}, a hop of request ${requestId}: timeout, it failed`]);
  });
});

describe('an accused peer', () => {
  it('that is dead is gone within three seconds and a tick, its socket with it', () => {
    const stage = meshOf(A, B);
    accuse(stage, ANN, A, 'peer-lost');
    stage.pass(ROLL_CALL_MS - TICK_MS);
    expect(stateOf(stage, A)).toBe('serving');
    stage.pass(TICK_MS);
    expect(stateOf(stage, A)).toBeNull();
    expect(stage.effects).toContainEqual({ type: 'cut', peer: A, reason: 'gave no sign of life' });
    expect(stage.presence.isGreeted(A)).toBe(false);
    expect(stage.effects).toContainEqual({
      type: 'log',
      line: `${A} was suspected and gave no sign of life: it counts as gone`,
    });
    expect(hopsOf(stage.route(BOB))).toEqual([B]);
  });

  it('that answers stays, whatever it was accused of by one', () => {
    for (const code of ['peer-lost', 'timeout', 'bad-frame'] as const) {
      const stage = meshOf(A, B);
      accuse(stage, ANN, A, code);
      answerRollCalls(stage, A);
      stage.skip(60_000);
      expect(stateOf(stage, A)).toBe('serving');
      requestOver(stage, BOB, A);
    }
  });

  it('is not helped by the answers of others, to other calls, or of other kinds', () => {
    const stage = meshOf(A, B);
    accuse(stage, ANN, A, 'timeout');
    const [call] = stage.sentTo(A, 'roll-call');
    const nonce = call?.nonce ?? 0;
    stage.say(B, { type: 'present', nonce });
    stage.say(A, { type: 'present', nonce: nonce + 1 });
    stage.say(A, { type: 'signal', to: B, data: 'alive' });
    stage.pass(ROLL_CALL_MS);
    expect(stateOf(stage, A)).toBeNull();
  });

  it('that says that it reloads is alive', () => {
    const stage = meshOf(A, B);
    accuse(stage, ANN, A, 'timeout');
    stage.say(A, { type: 'reloading', ...slice(0, 8), error: { code: 'device-lost', message: 'gone' } });
    stage.pass(ROLL_CALL_MS + TICK_MS);
    expect(stateOf(stage, A)).toBe('loading');
  });

  it('is asked once in a while only, however many accuse it', () => {
    const stage = meshOf(A, B);
    for (let count = 0; count < 20; count += 1) accuse(stage, count % 2 === 0 ? ANN : BOB, A, 'timeout');
    expect(stage.sentTo(A, 'roll-call')).toHaveLength(1);
    answerRollCalls(stage, A);
    stage.pass(ROLL_CALL_REST_MS);
    accuse(stage, ANN, A, 'timeout');
    expect(stage.sentTo(A, 'roll-call')).toHaveLength(2);
  });
});

describe('a peer that two found wrong', () => {
  it('is used for nobody, is shown with words, and is given nothing for a while', () => {
    const stage = meshOf(A, B);
    accuse(stage, ANN, A, 'bad-frame');
    accuse(stage, BOB, A, 'bad-frame');
    answerRollCalls(stage, A);
    expect(stage.presence.mesh().members.find(({ peer }) => peer === A)).toMatchObject({
      state: 'suspect',
      suspicion: 'Two others found that what it sent was wrong (bad-frame).',
      layerStart: 0,
      layerEnd: 8,
    });
    stage.connectFrom('10.0.0.3', EVE);
    for (let count = 0; count < 4; count += 1) expect(hopsOf(stage.route(EVE))).toEqual([B]);
    stage.skip(SUSPECT_MS - TICK_MS);
    expect(hopsOf(stage.route(EVE))).toEqual([B]);
    stage.pass(TICK_MS);
    expect(stateOf(stage, A)).toBe('serving');
    expect(hopsOf(stage.route(EVE))).toEqual([A]);
    expect(stage.sentTo(A, 'assign')).toHaveLength(1);
  });

  it('counts as gone for the placement', () => {
    const stage = meshOf(A);
    accuse(stage, ANN, A, 'internal');
    accuse(stage, BOB, A, 'bad-message');
    expect(stage.presence.covered()).toEqual([]);
    stage.connect(C);
    stage.join(C);
    expect(stage.sentTo(C, 'assign')).toEqual([{ type: 'assign', ...slice(0, 8) }]);
  });

  it('stays one when it leaves and joins, or comes back over another socket', () => {
    const stage = meshOf(A, B);
    accuse(stage, ANN, A, 'bad-frame');
    accuse(stage, BOB, A, 'bad-frame');
    stage.say(A, { type: 'leave' });
    stage.join(A);
    stage.disconnect(A);
    expect(stage.returnWith(A, slice(0, 8))).toEqual([{ type: 'unassign' }]);
    expect(hopsOf(stage.route(BOB))).toEqual([B]);
    expect(stage.sentTo(A, 'assign')).toHaveLength(1);
    stage.skip(SUSPECT_MS);
    expect(stage.sentTo(A, 'assign')).toHaveLength(2);
  });

  it('is not, where the two are one address, or half an hour apart', () => {
    const stage = new Stage();
    stage.connect(A, B);
    stage.connectFrom('10.0.0.1', ANN, BOB);
    stage.join(A, B);
    stage.loadAll();
    accuse(stage, ANN, A, 'bad-frame');
    accuse(stage, BOB, A, 'bad-frame');
    answerRollCalls(stage, A);
    expect(stateOf(stage, A)).toBe('serving');
    stage.skip(ACCUSATION_MS);
    stage.connectFrom('10.0.0.2', EVE);
    accuse(stage, EVE, A, 'bad-frame');
    answerRollCalls(stage, A);
    expect(stateOf(stage, A)).toBe('serving');
  });

  it('while it was to load something else frees all', () => {
    const stage = meshOf(A, B);
    const [first, second] = [requestOver(stage, ANN, A), requestOver(stage, BOB, A)];
    stage.say(A, { type: 'reloading', ...slice(0, 8), error: { code: 'device-lost', message: 'gone' } });
    accuse(stage, ANN, A, 'bad-frame', first);
    accuse(stage, BOB, A, 'bad-frame', second);
    expect(stage.sentTo(A, 'unassign')).toHaveLength(1);
    expect(stage.presence.mesh().members.map(({ peer }) => peer)).toEqual([B]);
    expect(stage.say(A, { type: 'serving', ...slice(0, 8) })).toEqual([]);
    expect(stateOf(stage, A)).toBeNull();
  });
});

const REQUESTERS = [ANN, BOB, EVE];
const LENDERS = [A, B, C];
const CODES: readonly ErrorCode[] = ['peer-lost', 'timeout', 'bad-frame', 'internal', 'bad-message', 'busy'];
const wordOf = (requesters: readonly PeerId[]) =>
  fc.record({
    requester: fc.constantFrom(...requesters),
    peer: fc.constantFrom(...LENDERS),
    code: fc.constantFrom(...CODES),
    afterMs: fc.constantFrom(0, TICK_MS, 10_000, SUSPECT_AVOID_MS),
    joinsAnew: fc.boolean(),
  });

it('one accuser, whatever it says and however often it comes, never gets anybody excluded for others', () => {
  let accusations = 0;
  fc.assert(
    fc.property(fc.array(wordOf([ANN, EVE]), { maxLength: 30 }), (words) => {
      const stage = new Stage();
      stage.connect(...LENDERS);
      stage.connectFrom('10.0.0.1', ANN, EVE);
      stage.connectFrom('10.0.0.2', BOB);
      stage.join(...LENDERS);
      stage.loadAll();
      for (const { requester, peer, code, afterMs, joinsAnew } of words) {
        if (joinsAnew) {
          stage.disconnect(requester);
          stage.connectFrom('10.0.0.1', requester);
        }
        accuse(stage, requester, peer, code);
        accusations += 1;
        answerRollCalls(stage, ...LENDERS);
        stage.skip(afterMs);
        expect(stage.presence.mesh().members.map(({ state }) => state)).toEqual(LENDERS.map(() => 'serving'));
      }
      for (const peer of LENDERS) requestOver(stage, BOB, peer);
    }),
    { numRuns: 60 },
  );
  expect(accusations).toBeGreaterThan(100);
});

it('is over some time after the last word: everybody serves again, and all is forgotten', () => {
  fc.assert(
    fc.property(fc.array(wordOf(REQUESTERS), { minLength: 5, maxLength: 30 }), (words) => {
      const stage = new Stage();
      stage.connect(...LENDERS, ...REQUESTERS);
      stage.join(...LENDERS);
      stage.loadAll();
      for (const { requester, peer, code, afterMs } of words) {
        if (stateOf(stage, peer) === 'serving') accuse(stage, requester, peer, code);
        answerRollCalls(stage, ...LENDERS);
        stage.skip(afterMs);
      }
      stage.skip(SUSPECT_MS + ACCUSATION_MS);
      expect(LENDERS.map((peer) => stateOf(stage, peer))).toEqual(LENDERS.map(() => 'serving'));
      const lender = stage.say(A, { type: 'join', capability: node(0).capability, cached: [] });
      expect(lender).toEqual([]);
      for (const peer of LENDERS) for (const requester of REQUESTERS) requestOver(stage, requester, peer);
      expect(stage.presence.covered()).toEqual([MODEL]);
    }),
    { numRuns: 30 },
  );
});
