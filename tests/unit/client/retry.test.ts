import { describe, expect, it } from 'vitest';
import { nextAttempt } from '../../../src/client/retry.ts';
import type { RetryState } from '../../../src/client/retry.ts';
import { SkeinError } from '../../../src/protocol/errors.ts';
import type { ErrorCode } from '../../../src/protocol/errors.ts';
import type { ModelId, PeerId, RequestId } from '../../../src/protocol/ids.ts';
import type { Route } from '../../../src/protocol/route.ts';

const hop = 'a'.repeat(32) as PeerId;
const bystander = 'b'.repeat(32) as PeerId;
const route: Route = {
  requestId: '0'.repeat(16) as RequestId,
  epoch: 0,
  model: 'm' as ModelId,
  hops: [{ peer: hop, layerStart: 0, layerEnd: 8 }],
};
const fresh: RetryState = { epoch: 0, exclude: [], failures: 0 };

function failure(code: ErrorCode, peer?: PeerId): SkeinError {
  return new SkeinError(code, code, peer === undefined ? {} : { data: { peer } });
}

describe('nextAttempt', () => {
  it('asks for a route without the hop that failed, at the next epoch', () => {
    expect(nextAttempt(fresh, failure('peer-lost', hop), route)?.state).toEqual({
      epoch: 1,
      exclude: [hop],
      failures: 1,
    });
  });

  it('excludes every hop of a route that fell silent: the same route would be silent again', () => {
    expect(nextAttempt(fresh, failure('timeout'), route)?.state.exclude).toEqual([hop]);
  });

  it('does not exclude a peer that is no hop of the route', () => {
    expect(nextAttempt(fresh, failure('timeout', bystander), route)?.state.exclude).toEqual([]);
  });

  it('waits longer every time a stage is busy, up to a cap, and gives up in the end', () => {
    const delays: number[] = [];
    let attempt = nextAttempt(fresh, failure('busy'), route);
    while (attempt !== null) {
      delays.push(attempt.delayMs);
      attempt = nextAttempt(attempt.state, failure('busy'), route);
    }
    expect(delays).toEqual([100, 200, 400, 800, 1600, 3200, 5000, 5000]);
  });

  it('waits for the mesh to re-form after a loss, and forgets whom it excluded', () => {
    const lost = nextAttempt(fresh, failure('peer-lost', hop), route);
    expect(lost).not.toBeNull();
    expect(nextAttempt(lost?.state ?? fresh, failure('no-route'), null)?.state).toEqual({
      epoch: 2,
      exclude: [],
      failures: 2,
    });
  });

  it.each<ErrorCode>(['no-route', 'aborted', 'bad-argument', 'server-lost'])(
    'does not repeat a request that failed with %s at the start',
    (code) => {
      expect(nextAttempt(fresh, failure(code), null)).toBeNull();
    },
  );
});
