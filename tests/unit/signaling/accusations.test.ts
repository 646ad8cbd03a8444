import { expect, it } from 'vitest';
import type { ErrorCode } from '../../../src/protocol/errors.ts';
import type { PeerId } from '../../../src/protocol/ids.ts';
import { Accusations } from '../../../signaling/accusations.ts';
import type { Accusation } from '../../../signaling/accusations.ts';
import { ACCUSATION_MS, MAX_ACCUSED, MAX_AVOIDED_PEERS, SUSPECT_MS } from '../../../signaling/limits.ts';
import { peerId } from './scheduler/instances.ts';

const [A, B, C, ANN] = [peerId(1), peerId(2), peerId(3), peerId(9)];

const by = (accuser: string, code: ErrorCode, other: PeerId | null = null): Accusation => ({
  accuser,
  code,
  other,
});

it('takes two accusers for a suspect, in any order of their words, and one to begin with again', () => {
  const accusations = new Accusations();
  expect(accusations.accuse(A, by('ann', 'bad-frame'), 0)).toEqual({ kind: 'nothing' });
  expect(accusations.accuse(A, by('ann', 'bad-frame'), 1)).toEqual({ kind: 'nothing' });
  expect(accusations.accuse(A, by('bob', 'timeout'), 2)).toEqual({ kind: 'nothing' });
  expect(accusations.accuse(A, by('bob', 'internal'), 3)).toMatchObject({
    kind: 'suspect',
    words: expect.stringContaining('bad-frame and internal') as string,
  });
  expect(accusations.wordsOf(A)).not.toBeNull();
  expect(accusations.expire(2 + SUSPECT_MS)).toEqual([]);
  expect(accusations.expire(3 + SUSPECT_MS)).toEqual([A]);
  expect(accusations.accuse(A, by('ann', 'bad-frame'), 3 + SUSPECT_MS)).toEqual({ kind: 'nothing' });
});

it('finds out of two that name each other the one that others name too', () => {
  const accusations = new Accusations();
  const pair = (accuser: string, one: PeerId, other: PeerId) => [
    accusations.accuse(one, by(accuser, 'bad-frame', other), 0).kind,
    accusations.accuse(other, by(accuser, 'bad-frame', one), 0).kind,
  ];
  expect(pair('ann', A, C)).toEqual(['nothing', 'nothing']);
  expect(pair('bob', A, C)).toEqual(['nothing', 'nothing']);
  expect(pair('eve', A, C)).toEqual(['nothing', 'nothing']);
  expect(pair('bob', B, C)).toEqual(['nothing', 'suspect']);
  expect([A, B, C].map((peer) => accusations.wordsOf(peer) !== null)).toEqual([false, false, true]);
});

it('takes the word of somebody who is sure together with that of somebody who is not', () => {
  const accusations = new Accusations();
  accusations.accuse(A, by('ann', 'bad-frame', B), 0);
  accusations.accuse(B, by('ann', 'bad-frame', A), 0);
  expect(accusations.accuse(A, by('bob', 'bad-frame'), 1)).toMatchObject({ kind: 'suspect' });
  expect(accusations.wordsOf(B)).toBeNull();
});

it('forgets what nobody confirmed in time', () => {
  const accusations = new Accusations();
  accusations.accuse(A, by('ann', 'bad-frame'), 0);
  expect(accusations.accuse(A, by('bob', 'bad-frame'), ACCUSATION_MS)).toEqual({ kind: 'nothing' });
  expect(accusations.accuse(A, by('ann', 'bad-frame'), 2 * ACCUSATION_MS - 1)).toMatchObject({
    kind: 'suspect',
  });
});

it('remembers a bounded number of whom it hears of', () => {
  const accusations = new Accusations();
  for (let index = 0; index < 3 * MAX_ACCUSED; index += 1) {
    accusations.accuse(peerId(index), by('ann', 'bad-frame'), index);
    accusations.avoid(ANN, peerId(index), index);
  }
  expect(accusations.size).toBe(MAX_ACCUSED + MAX_AVOIDED_PEERS);
  expect(accusations.avoidedBy(ANN, 3 * MAX_ACCUSED)).toHaveLength(MAX_AVOIDED_PEERS);
  accusations.forgetRequester(ANN);
  accusations.expire(3 * MAX_ACCUSED + ACCUSATION_MS);
  expect(accusations.size).toBe(0);
});
