import type { PeerId } from '../../src/protocol/ids.ts';
import type { Route } from '../../src/protocol/route.ts';
import type { SkeinError } from '../../src/protocol/errors.ts';
import type { RetryState } from '../../src/client/retry.ts';
import type { PolicyTraits } from './policy.ts';

/** What a requester does after a failure; null when it gives up. The signature of `nextAttempt` in src/client/retry.ts. */
export type RetryRule = (
  state: RetryState,
  error: SkeinError,
  route: Route | null,
) => { readonly state: RetryState; readonly delayMs: number } | null;

/** As many as a route request may name. */
const MAX_EXCLUDED = 64;

/** So many attempts since the last token, whatever went wrong; the peer that an error names is not used again. */
export function simpleRetry({ attempts, firstSeconds, longestSeconds }: PolicyTraits['retry']): RetryRule {
  return (state, error) => {
    const failures = state.failures + 1;
    if (failures > attempts) return null;
    const culprit = error.data['peer'];
    const exclude =
      typeof culprit === 'string'
        ? [...state.exclude, culprit as PeerId].slice(-MAX_EXCLUDED)
        : state.exclude;
    const delaySeconds = Math.min(firstSeconds * 2 ** (failures - 1), longestSeconds);
    return {
      state: { ...state, epoch: state.epoch + 1, exclude, failures, waits: 0 },
      delayMs: delaySeconds * 1000,
    };
  };
}
