import { expect, it } from 'vitest';
import { Accusations } from '../../../signaling/accusations.ts';
import { ACCUSATION_MS, MAX_ACCUSED, MAX_AVOIDED_PEERS, SUSPECT_MS } from '../../../signaling/limits.ts';
import { peerId } from './scheduler/instances.ts';

const [A, ANN] = [peerId(1), peerId(9)];

it('takes two accusers for a suspect, in any order of their words, and one to begin with again', () => {
  const accusations = new Accusations();
  expect(accusations.accuse(A, 'ann', 'bad-frame', 0)).toEqual({ kind: 'nothing' });
  expect(accusations.accuse(A, 'ann', 'bad-frame', 1)).toEqual({ kind: 'nothing' });
  expect(accusations.accuse(A, 'bob', 'timeout', 2)).toEqual({ kind: 'nothing' });
  expect(accusations.accuse(A, 'bob', 'internal', 3)).toMatchObject({
    kind: 'suspect',
    words: expect.stringContaining('bad-frame and internal') as string,
  });
  expect(accusations.wordsOf(A)).not.toBeNull();
  expect(accusations.expire(2 + SUSPECT_MS)).toEqual([]);
  expect(accusations.expire(3 + SUSPECT_MS)).toEqual([A]);
  expect(accusations.accuse(A, 'ann', 'bad-frame', 3 + SUSPECT_MS)).toEqual({ kind: 'nothing' });
});

it('forgets what nobody confirmed in time', () => {
  const accusations = new Accusations();
  accusations.accuse(A, 'ann', 'bad-frame', 0);
  expect(accusations.accuse(A, 'bob', 'bad-frame', ACCUSATION_MS)).toEqual({ kind: 'nothing' });
  expect(accusations.accuse(A, 'ann', 'bad-frame', 2 * ACCUSATION_MS - 1)).toMatchObject({ kind: 'suspect' });
});

it('remembers a bounded number of whom it hears of', () => {
  const accusations = new Accusations();
  for (let index = 0; index < 3 * MAX_ACCUSED; index += 1) {
    accusations.accuse(peerId(index), 'ann', 'bad-frame', index);
    accusations.avoid(ANN, peerId(index), index);
  }
  expect(accusations.size).toBe(MAX_ACCUSED + MAX_AVOIDED_PEERS);
  expect(accusations.avoidedBy(ANN, 3 * MAX_ACCUSED)).toHaveLength(MAX_AVOIDED_PEERS);
  accusations.forgetRequester(ANN);
  accusations.expire(3 * MAX_ACCUSED + ACCUSATION_MS);
  expect(accusations.size).toBe(0);
});
