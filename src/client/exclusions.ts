import type { ErrorCode, SkeinError } from '../protocol/errors.ts';
import type { PeerId } from '../protocol/ids.ts';
import type { Route } from '../protocol/route.ts';
import type { Exclusion } from './request-state.ts';
import { culprits, MAX_EXCLUDED } from './retry.ts';
import type { RetryState } from './retry.ts';

/** Others that a hop may accuse before it is at fault itself: in a mesh in turmoil honest hops report more than one loss. */
const MAX_ACCUSED = 2;

/**
 * Who is at fault, as far as anybody can be named: whom the error names, and a hop that accused too many. A loss reported by a
 * neighbour is what honest hops do; who reports one after the other may be the one that loses them.
 */
export function faultyPeers(
  error: SkeinError,
  accuser: PeerId | null,
  route: Route,
  exclusions: readonly Exclusion[],
): PeerId[] {
  if (error.data['peer'] === undefined) return [];
  const named = [...new Set(culprits(error, route))];
  if (accuser === null || named.includes(accuser)) return named;
  const accused = new Set(named);
  for (const earlier of exclusions) if (earlier.accuser === accuser) accused.add(earlier.peer);
  return accused.size > MAX_ACCUSED ? [...named, accuser] : named;
}

/** The hop that an error names. */
export function namedHop(error: SkeinError, route: Route): PeerId | null {
  return route.hops.find(({ peer }) => peer === error.data['peer'])?.peer ?? null;
}

/** What is noted of all, the latest of each. */
export function accusedBy(
  exclusions: readonly Exclusion[],
  accuser: PeerId | null,
  code: ErrorCode,
  peers: readonly PeerId[],
): Exclusion[] {
  const others = exclusions.filter(({ peer }) => !peers.includes(peer));
  return [...others, ...peers.map((peer) => ({ peer, code, accuser: accuser === peer ? null : accuser }))];
}

/** The next attempt without the faulty, and the reasons for those that it still excludes. */
export function after(
  retry: RetryState,
  faulty: readonly PeerId[],
  exclusions: readonly Exclusion[],
): { readonly retry: RetryState; readonly exclusions: readonly Exclusion[] } {
  const exclude = [...new Set([...retry.exclude, ...faulty])].slice(-MAX_EXCLUDED);
  return {
    retry: { ...retry, exclude },
    exclusions: exclusions.filter(({ peer }) => exclude.includes(peer)),
  };
}
