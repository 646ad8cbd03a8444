import { expect, it } from 'vitest';
import { SkeinError } from '../../../src/protocol/errors.ts';
import type { ModelId, PeerId } from '../../../src/protocol/ids.ts';
import type { MeshMember } from '../../../src/protocol/signaling.ts';
import { shortPeer } from '../../../src/ui/text/format.ts';
import { cutOffWords, suspectWords } from '../../../src/ui/text/suspect-words.ts';

const [self, other] = ['a'.repeat(32), 'b'.repeat(32)] as [PeerId, PeerId];
const member = (peer: PeerId, state: MeshMember['state'], suspicion?: string): MeshMember => ({
  peer,
  model: 'model' as ModelId,
  layerStart: 0,
  layerEnd: 8,
  state,
  adapter: 'GPU',
  ...(suspicion !== undefined && { suspicion }),
});

it('names each tab that is kept from work, this one among them, and says why', () => {
  const found = 'Two others found that what it sent was wrong (bad-frame).';
  const members = [member(self, 'suspect', found), member(other, 'suspect'), member(other, 'serving')];
  expect(suspectWords(members, self)).toEqual([
    `This tab gets no work for some minutes. ${found}`,
    `Tab ${shortPeer(other)} gets no work for some minutes. Others found that what it sent was wrong.`,
  ]);
  expect(suspectWords([member(other, 'loading')], self)).toEqual([]);
});

it('names the tab that this one cut off, as short as elsewhere', () => {
  const error = new SkeinError('bad-frame', `Peer ${other} was cut off for 120 s for what it sent.`, {
    data: { peer: other },
  });
  expect(cutOffWords(error)).toBe(
    `Another tab broke the rules. Peer ${shortPeer(other)} was cut off for 120 s for what it sent.`,
  );
});
