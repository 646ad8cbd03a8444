import type { ErrorCode } from '../protocol/errors.ts';
import type { PeerId } from '../protocol/ids.ts';
import type { Reroute } from './request-state.ts';

/** Digits of an id that tell the tabs of a mesh apart. */
const SHORT_PEER_LENGTH = 6;

const DEEDS: Readonly<Partial<Record<ErrorCode, string>>> = {
  'peer-lost': 'left',
  timeout: 'gave no sign of life',
  'device-lost': 'lost its GPU',
  'out-of-memory': 'ran out of memory',
  'bad-frame': 'sent something wrong',
  busy: 'has no room',
};

/** What a person reads of a route that was lost: `Tab 3f2a01 left`. */
export function lossWords({ peer, code }: Pick<Reroute, 'peer' | 'code'>): string {
  return `${nameOf(peer)} ${DEEDS[code] ?? 'failed'}`;
}

/** Once the answer goes on: `Tab 3f2a01 left: went on without it after 0.42 s`. */
export function rerouteWords(reroute: Reroute): string {
  const without = reroute.peer === null || reroute.code === 'busy' ? '' : ' without it';
  return `${lossWords(reroute)}: went on${without} after ${(reroute.pauseMs / 1000).toFixed(2)} s`;
}

function nameOf(peer: PeerId | null): string {
  return peer === null ? 'A tab of the route' : `Tab ${peer.slice(0, SHORT_PEER_LENGTH)}`;
}
