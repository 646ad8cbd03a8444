import type { PeerId } from '../../src/protocol/ids.ts';
import type { Link, Network } from './types.ts';

/** Round trip between two peers of which nothing was measured. */
export const UNKNOWN_RTT_SECONDS = 0.02;

/** Peers of which nothing was measured: all equally far from each other. */
export const ONE_REGION: Network = { regionRttSeconds: [[UNKNOWN_RTT_SECONDS]], links: new Map() };

/** Round trip between two peers of these regions, or of one. */
export function regionRtt(network: Network, a: number, b: number): number {
  return network.regionRttSeconds[a]?.[b] ?? UNKNOWN_RTT_SECONDS;
}

/** What was measured between two peers, in whatever order. */
export function linkBetween({ links }: Network, a: PeerId, b: PeerId): Link | undefined {
  return a < b ? links.get(a)?.get(b) : links.get(b)?.get(a);
}

/** The measured links of each peer, whichever end it is. */
export type LinksByPeer = ReadonlyMap<PeerId, readonly (readonly [PeerId, Link])[]>;

const linksByPeer = new WeakMap<Network, LinksByPeer>();

/** Kept for as long as the network is: many routes are found over one. */
export function linksOfEach(network: Network): LinksByPeer {
  const known = linksByPeer.get(network);
  if (known !== undefined) return known;
  const found = new Map<PeerId, [PeerId, Link][]>();
  const add = (from: PeerId, to: PeerId, link: Link) => {
    const list = found.get(from);
    if (list === undefined) found.set(from, [[to, link]]);
    else list.push([to, link]);
  };
  for (const [a, others] of network.links) {
    for (const [b, link] of others) {
      add(a, b, link);
      add(b, a, link);
    }
  }
  linksByPeer.set(network, found);
  return found;
}
