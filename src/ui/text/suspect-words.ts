import type { SkeinError } from '../../protocol/errors.ts';
import { PEER_ID_PATTERN } from '../../protocol/ids.ts';
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

/** About a tab that this one cut off for what it sent. @param error that names it. */
export function cutOffWords({ message, data }: SkeinError): string {
  const { peer } = data;
  const isNamed = typeof peer === 'string' && PEER_ID_PATTERN.test(peer);
  return `Another tab broke the rules. ${isNamed ? message.replace(peer, shortPeer(peer as PeerId)) : message}`;
}
