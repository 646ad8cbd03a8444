import type { SkeinError } from '../protocol/errors.ts';
import type { ErrorCode } from '../protocol/errors.ts';
import type { PeerId } from '../protocol/ids.ts';
import type { Route } from '../protocol/route.ts';

/** What the next route is asked for. */
export interface RetryState {
  /** Counts routes: frames of an earlier one are dropped. */
  readonly epoch: number;
  /** Peers that failed this request. */
  readonly exclude: readonly PeerId[];
  /** Failures since the last token. */
  readonly failures: number;
}

/** Failures in a row, without a single token between them, after which a request is given up. */
const MAX_FAILURES = 8;
const FIRST_DELAY_MS = 100;
const MAX_DELAY_MS = 5_000;
/** Excluded peers are remembered up to the number a route request may name. */
const MAX_EXCLUDED = 64;

/** Faults of one route; another may do. */
const FAULTS: readonly ErrorCode[] = [
  'peer-lost',
  'timeout',
  'device-lost',
  'out-of-memory',
  'bad-frame',
  'internal',
];

/**
 * What to do after a failure.
 * @param route the route that failed, or null when there was none.
 * @returns null when trying again cannot help.
 */
export function nextAttempt(
  state: RetryState,
  error: SkeinError,
  route: Route | null,
): { state: RetryState; delayMs: number } | null {
  const failures = state.failures + 1;
  const delayMs = Math.min(FIRST_DELAY_MS * 2 ** (failures - 1), MAX_DELAY_MS);
  if (failures > MAX_FAILURES) return null;
  if (error.code === 'busy') return { state: { ...state, epoch: state.epoch + 1, failures }, delayMs };
  // The mesh re-forms after a loss; with no loss before, nobody is there and waiting is the user's choice.
  if (error.code === 'no-route' && state.failures > 0) {
    return { state: { epoch: state.epoch + 1, exclude: [], failures }, delayMs };
  }
  if (route === null || !FAULTS.includes(error.code)) return null;
  const exclude = [...state.exclude, ...culprits(error, route)].slice(-MAX_EXCLUDED);
  return { state: { epoch: state.epoch + 1, exclude, failures }, delayMs };
}

/**
 * The peer an error names, when it is a hop of the route: nobody can make us exclude a bystander. Silence names nobody, and
 * the same route would be silent again: then it is every hop.
 */
function culprits(error: SkeinError, route: Route): PeerId[] {
  const hops = route.hops.map(({ peer }) => peer);
  const isUnnamedSilence = error.code === 'timeout' && error.data['peer'] === undefined;
  return isUnnamedSilence ? hops : hops.filter((peer) => peer === error.data['peer']);
}
