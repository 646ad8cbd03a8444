import { SkeinError } from '../protocol/errors.ts';
import type { PeerId } from '../protocol/ids.ts';
import type { Finding } from './find-culprit.ts';
import { peerError } from './peer-errors.ts';

/** Who hangs, in words. */
export function hungError(finding: Finding): SkeinError {
  const again = 'Ask for a new route.';
  switch (finding.kind) {
    case 'silent':
      return peerError(
        'timeout',
        finding.peer,
        `answered no question for ${seconds(finding.forMs)}. ${again}`,
      );
    case 'stalled':
      return peerError(
        'timeout',
        finding.peer,
        `has something to compute and computed nothing for ${seconds(finding.forMs)}. ${again}`,
      );
    case 'withheld':
      return peerError('timeout', finding.peer, `says that it sent what never came. ${again}`);
    case 'contradiction': {
      const { peer, sender } = finding;
      if (sender === null || sender === peer) {
        return peerError('timeout', peer, `says that it never got what was sent to it. ${again}`);
      }
      return new SkeinError(
        'timeout',
        `Peer ${sender} says that it sent what peer ${peer} says it never got. ${again}`,
        { data: { peer, otherPeer: sender } },
      );
    }
  }
}

/** @param peer for whom all wait, where that is known. */
export function silenceError(silentMs: number, peer: PeerId | null): SkeinError {
  return new SkeinError(
    'timeout',
    `Nothing of the answer came over the route for ${seconds(silentMs)}. Ask for a new route.`,
    { data: peer === null ? {} : { peer } },
  );
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
