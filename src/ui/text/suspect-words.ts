import type { PeerId } from '../../protocol/ids.ts';
import type { MeshMember } from '../../protocol/signaling.ts';
import { shortPeer } from './format.ts';

/** A sentence or two for each tab that is kept from work because others found what it sent wrong. @param self this tab. */
export function suspectWords(members: readonly MeshMember[], self: PeerId | null): string[] {
  return members
    .filter(({ state }) => state === 'suspect')
    .map(({ peer, suspicion }) => {
      const who = peer === self ? 'This tab' : `Tab ${shortPeer(peer)}`;
      return `${who} gets no work for some minutes. ${suspicion ?? 'Others found that what it sent was wrong.'}`;
    });
}
