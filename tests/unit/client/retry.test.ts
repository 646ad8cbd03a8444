import { describe, expect, it } from 'vitest';
import { afterToken, FIRST_ATTEMPT, nextAttempt } from '../../../src/client/retry.ts';
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
const fresh: RetryState = FIRST_ATTEMPT;

function failure(code: ErrorCode, peer?: PeerId): SkeinError {
  return new SkeinError(code, code, peer === undefined ? {} : { data: { peer } });
}

describe('nextAttempt', () => {
  it('asks for a route without the hop that failed, at the next epoch', () => {
    expect(nextAttempt(fresh, failure('peer-lost', hop), route)?.state).toEqual({
      epoch: 1,
      exclude: [hop],
      failures: 1,
      waits: 0,
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
      failures: 1,
      waits: 1,
    });
  });

  it('asks every second for minutes while tabs load the layers, or others are found for those it lost', () => {
    const loading = new SkeinError('no-route', 'layers 0–3 still loading', { data: { loading: true } });
    const lost = nextAttempt(fresh, failure('peer-lost', hop), route)?.state ?? fresh;
    for (const [state, error] of [
      [fresh, loading],
      [lost, failure('no-route')],
    ] as const) {
      const delays: number[] = [];
      let attempt = nextAttempt(state, error, null);
      while (attempt !== null) {
        delays.push(attempt.delayMs);
        // Once it waits for layers, it does so whatever the server can say of them.
        attempt = nextAttempt(attempt.state, failure('no-route'), null);
      }
      expect(delays.slice(0, 6)).toEqual([100, 200, 400, 800, 1000, 1000]);
      expect(delays).toHaveLength(180);
      expect(attempt).toBeNull();
    }
  });

  it('begins to count anew with every token', () => {
    const tired: RetryState = { epoch: 9, exclude: [hop], failures: 8, waits: 180 };
    expect(nextAttempt(tired, failure('peer-lost'), route)).toBeNull();
    expect(nextAttempt(afterToken(tired), failure('peer-lost'), route)?.state).toEqual({
      epoch: 10,
      exclude: [hop],
      failures: 1,
      waits: 0,
    });
  });

  it('asks a server that did not answer in time again, but not for ever', () => {
    const started: RetryState = { epoch: 3, exclude: [hop], failures: 0, waits: 0 };
    const attempt = nextAttempt(started, failure('timeout'), null);
    expect(attempt).toEqual({ state: { epoch: 4, exclude: [hop], failures: 1, waits: 0 }, delayMs: 100 });
    let tries = 0;
    for (let next = attempt; next !== null; next = nextAttempt(next.state, failure('timeout'), null))
      tries += 1;
    expect(tries).toBe(8);
  });

  it('waits as long as a server without room asks for, within reason', () => {
    const full = (retryAfterSeconds: number) =>
      nextAttempt(fresh, new SkeinError('busy', 'full', { data: { retryAfterSeconds } }), null)?.delayMs;
    expect([full(5), full(0), full(1e9), full(NaN)]).toEqual([5000, 100, 60_000, 100]);
  });

  it.each<ErrorCode>(['no-route', 'aborted', 'bad-argument', 'server-lost'])(
    'does not repeat a request that failed with %s at the start',
    (code) => {
      expect(nextAttempt(fresh, failure(code), null)).toBeNull();
    },
  );
});
