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
 * Whom a peer should measure its way to. One that is in no region yet: one of the first of each region, and some of those
 * that are in none either. One that is alone in its region: the very first of each other, against which regions are held.
 * One that is not: some neighbours. Which ones depends on its place in order of arrival, so that the probes spread.
 * @param isMeasured whether this peer spoke of its way to the other lately.
 */
export function probesOf(
  peer: PeerId,
  { peers, region }: PeerRegions,
  isMeasured: (other: PeerId) => boolean,
): PeerId[] {
  const place = peers.indexOf(peer);
  const home = region(peer);
  const others = peers.filter((other) => other !== peer);
  const some = (candidates: readonly PeerId[], count: number) => {
    const wanted = count - candidates.filter(isMeasured).length;
    return rotated(candidates, place)
      .filter((other) => !isMeasured(other))
      .slice(0, Math.max(0, wanted));
  };
  const neighbours = home >= FIRST_MEASURED ? others.filter((other) => region(other) === home) : [];
  if (neighbours.length > 0) return some(neighbours, NEIGHBOURS);

  const unplaced: PeerId[] = [];
  const byRegion = new Map<number, PeerId[]>();
  for (const other of others) {
    const where = region(other);
    const list = where < FIRST_MEASURED ? unplaced : (byRegion.get(where) ?? []);
    list.push(other);
    if (list !== unplaced) byRegion.set(where, list);
  }
  const largestFirst = [...byRegion.values()].sort((a, b) => b.length - a.length);
  const isAlone = home >= FIRST_MEASURED;
  const ofRegions = largestFirst.flatMap((members) =>
    isAlone ? some(members.slice(0, 1), 1) : some(members.slice(0, ANCHORS), 1),
  );
  return [...ofRegions, ...some(unplaced, NEIGHBOURS)].slice(0, MAX_PROBED_PEERS);
}

function rotated<T>(list: readonly T[], by: number): T[] {
  const start = list.length === 0 ? 0 : Math.max(0, by) % list.length;
  return [...list.slice(start), ...list.slice(0, start)];
}
