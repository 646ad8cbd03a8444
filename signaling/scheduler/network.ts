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

/** A measured link as one of its ends sees it. */
export interface Way {
  /** Number of the other end. */
  readonly to: number;
  readonly link: Link;
}

/** The peers that have measured links, numbered from 0, and the links of each. */
export interface Ways {
  readonly numbers: ReadonlyMap<PeerId, number>;
  /** By number. */
  readonly of: readonly (readonly Way[])[];
}

const waysByNetwork = new WeakMap<Network, Ways>();

/** Kept for as long as the network is: many routes are found over one. */
export function waysOf(network: Network): Ways {
  const known = waysByNetwork.get(network);
  if (known !== undefined) return known;
  const numbers = new Map<PeerId, number>();
  const of: Way[][] = [];
  const numberOf = (peer: PeerId) => {
    const number = numbers.get(peer) ?? of.push([]) - 1;
    numbers.set(peer, number);
    return number;
  };
  for (const [a, others] of network.links) {
    const from = numberOf(a);
    for (const [b, link] of others) {
      const to = numberOf(b);
      of[from]?.push({ to, link });
      of[to]?.push({ to: from, link });
    }
  }
  const ways = { numbers, of };
  waysByNetwork.set(network, ways);
  return ways;
}
