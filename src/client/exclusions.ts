import type { ErrorCode, SkeinError } from '../protocol/errors.ts';
import type { PeerId } from '../protocol/ids.ts';
import type { Route } from '../protocol/route.ts';
import type { Exclusion } from './request-state.ts';
import { culprits, isAboutWrongValues, MAX_EXCLUDED } from './retry.ts';
import type { RetryState } from './retry.ts';

/** What a hop may report before it is at fault itself: in a mesh in turmoil honest hops report more than one loss, */
const MAX_REPORTED_LOSSES = 2;
/** and wrong values once, for whoever sent them is not asked again. */
const MAX_REPORTED_WRONGS = 1;
/** Of accusations between two tokens; a request is given up after fewer. */
const MAX_NOTED_ACCUSERS = 64;

/**
 * Who is at fault, as far as anybody can be named: whom the error names, and a hop that names one after the other. A neighbour that
 * is lost, or sent wrong values, is what honest hops report; who goes on with that may be the one that lies.
 * @param accusers of this request since its last token, once for each time.
 */
export function faultyPeers(
  error: SkeinError,
  accuser: PeerId | null,
  route: Route,
  accusers: readonly PeerId[],
): PeerId[] {
  if (error.data['peer'] === undefined) return [];
  const named = [...new Set(culprits(error, route))];
  if (accuser === null || named.length === 0 || named.includes(accuser)) return named;
  const reported = accusers.filter((other) => other === accuser).length;
  const most = isAboutWrongValues(error) ? MAX_REPORTED_WRONGS : MAX_REPORTED_LOSSES;
  return reported >= most ? [...named, accuser] : named;
}

/** With one more accusation noted. It is not forgotten with whom it kept from the next routes. */
export function withAccuser(accusers: readonly PeerId[], accuser: PeerId | null): readonly PeerId[] {
  return accuser === null ? accusers : [...accusers, accuser].slice(-MAX_NOTED_ACCUSERS);
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
