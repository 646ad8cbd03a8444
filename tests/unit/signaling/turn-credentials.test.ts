import { createHmac } from 'node:crypto';
import { expect, it } from 'vitest';
import { TurnCredentials } from '../../../signaling/turn-credentials.ts';
import { Stage } from './presence-stage.ts';
import { peerId } from './scheduler/instances.ts';

const [A, B] = [peerId(1), peerId(2)];
const OPTIONS = { urls: ['turn:turn.example.org'], secret: 'shared', ttlSeconds: 600 };

it('follows the convention of coturn', () => {
  const { username, credential, urls } = new TurnCredentials(OPTIONS, () => 1000.9).of(A);
  expect(urls).toEqual(OPTIONS.urls);
  expect(username).toBe(`1600:${A}`);
  expect(credential).toBe(createHmac('sha1', 'shared').update(`1600:${A}`).digest('base64'));
});

it('is refused where it could not work', () => {
  for (const wrong of [{ urls: [] }, { urls: ['stun:a'] }, { secret: '' }, { ttlSeconds: 0 }]) {
    expect(() => new TurnCredentials({ ...OPTIONS, ...wrong }, () => 0)).toThrow();
  }
});

it('comes with welcome for each peer, and anew before it ends', () => {
  let unixSeconds = 1000;
  const turn = new TurnCredentials(OPTIONS, () => unixSeconds);
  const stage = new Stage({ turn, isRelayOnly: true });
  stage.connect(A);
  expect(stage.sentTo(A, 'welcome')).toMatchObject([{ iceServers: [turn.of(A)], isRelayOnly: true }]);
  stage.pass(299_000);
  stage.connect(B);
  unixSeconds = 1300;
  expect(stage.sentTo(A, 'ice-servers')).toEqual([]);
  stage.pass(1000);
  expect(stage.sentTo(A, 'ice-servers')).toEqual([{ type: 'ice-servers', iceServers: [turn.of(A)] }]);
  expect(stage.sentTo(B, 'ice-servers')).toEqual([{ type: 'ice-servers', iceServers: [turn.of(B)] }]);
  stage.pass(299_000);
  expect(stage.sentTo(A, 'ice-servers')).toHaveLength(1);
  stage.pass(1000);
  expect(stage.sentTo(A, 'ice-servers')).toHaveLength(2);
});

it('is not sent again where nothing ends', () => {
  const stage = new Stage();
  stage.connect(A);
  stage.pass(3_600_000);
  expect(stage.sentTo(A, 'ice-servers')).toEqual([]);
});
