import type { PeerId } from '../src/protocol/ids.ts';
import { MAX_PROBED_PEERS } from '../src/protocol/limits.ts';
import { FIRST_MEASURED } from './scheduler/clusters.ts';

/** Peers of its own region whose ways it should know; the rest are taken to be as near. */
const NEIGHBOURS = 3;
/** Newcomers are held against one of so many members of a region, the longest there, so that no peer measures with all. */
const ANCHORS = 8;

/** Where every peer is; peers in order of arrival. */
export interface PeerRegions {
  readonly peers: readonly PeerId[];
  readonly region: (peer: PeerId) => number;
}

/**
 * Whom a peer should measure its way to: one of the first of each region it was not measured against, and some
 * neighbours. Which ones depends on its place in order of arrival, so that the probes spread.
 * @param isMeasured whether this peer spoke of its way to the other lately.
 */
export function probesOf(
  peer: PeerId,
  { peers, region }: PeerRegions,
  isMeasured: (other: PeerId) => boolean,
): PeerId[] {
  const place = peers.indexOf(peer);
  const home = region(peer);
  const byRegion = new Map<number, PeerId[]>();
  for (const other of peers) {
    if (other === peer) continue;
    const where = region(other);
    const list = byRegion.get(where);
    if (list === undefined) byRegion.set(where, [other]);
    else list.push(other);
  }

  const probes: PeerId[] = [];
  const bySize = [...byRegion].sort(([, a], [, b]) => b.length - a.length);
  for (const [where, members] of bySize) {
    // Peers that were only placed by their way to the server may be anywhere, so several of them are asked for.
    const wanted = where === home || where < FIRST_MEASURED ? NEIGHBOURS : 1;
    const measured = members.filter(isMeasured).length;
    const anchors = members.length <= ANCHORS || where === home ? members : members.slice(0, ANCHORS);
    probes.push(
      ...rotated(anchors, place)
        .filter((other) => !isMeasured(other))
        .slice(0, Math.max(0, wanted - measured)),
    );
  }
  return probes.slice(0, MAX_PROBED_PEERS);
}

function rotated<T>(list: readonly T[], by: number): T[] {
  const start = list.length === 0 ? 0 : Math.max(0, by) % list.length;
  return [...list.slice(start), ...list.slice(0, start)];
}
