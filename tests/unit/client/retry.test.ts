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
      oneByOne: [],
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
    expect(delays).toEqual([100, 200, 400, 800, 1600, 3200, ...new Array<number>(10).fill(5000)]);
  });

  it('excludes one at a time of those without all of whom there is no route, and goes on with the next after another failure', () => {
    const [first, second] = ['1'.repeat(32), '2'.repeat(32)] as [PeerId, PeerId];
    const hops = [first, second].map((peer) => ({ peer, layerStart: 0, layerEnd: 8 }));
    const disputed = new SkeinError('timeout', 'one of two', { data: { peer: first, otherPeer: second } });
    const steps: [SkeinError, Route | null, PeerId[]][] = [
      [disputed, { ...route, hops }, [first, second]],
      [failure('no-route'), null, [first]],
      [disputed, { ...route, hops }, [first, second]],
      [failure('no-route'), null, [second]],
      [failure('no-route'), null, []],
      [failure('no-route'), null, []],
    ];
    let state = fresh;
    for (const [error, lost, exclude] of steps) {
      state = nextAttempt(state, error, lost)?.state ?? fresh;
      expect(state.exclude).toEqual(exclude);
    }
  });

  it('waits for the mesh to re-form after a loss, and forgets whom it excluded', () => {
    const lost = nextAttempt(fresh, failure('peer-lost', hop), route);
    expect(lost).not.toBeNull();
    expect(nextAttempt(lost?.state ?? fresh, failure('no-route'), null)?.state).toEqual({
      epoch: 2,
      exclude: [],
      failures: 1,
      waits: 1,
      oneByOne: [],
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

  it('asks at once for a route without the hop that failed, and then less and less often', () => {
    const delays: number[] = [];
    let attempt = nextAttempt(fresh, failure('bad-frame', hop), route);
    while (attempt !== null) {
      delays.push(attempt.delayMs);
      attempt = nextAttempt(attempt.state, failure('bad-frame', hop), route);
    }
    // What may be wrong everywhere is given up sooner than a mesh in turmoil.
    expect(delays).toEqual([0, 100, 200, 400, 800, 1600, 3200, 5000]);
    let losses = 0;
    for (let lost = nextAttempt(fresh, failure('peer-lost', hop), route); lost !== null; losses += 1) {
      lost = nextAttempt(lost.state, failure('peer-lost', hop), route);
    }
    expect(losses).toBe(16);
  });

  it('excludes both of two hops of which one lies', () => {
    const hops = [...route.hops, { peer: bystander, layerStart: 8, layerEnd: 9 }];
    const error = new SkeinError('timeout', 'contradiction', { data: { peer: hop, otherPeer: bystander } });
    expect(nextAttempt(fresh, error, { ...route, hops })?.state.exclude).toEqual([hop, bystander]);
  });

  it('names nobody twice, and no more than a route request may', () => {
    const exclude = Array.from({ length: 64 }, (_, index) => index.toString(16).padStart(32, '0') as PeerId);
    const full: RetryState = { ...fresh, exclude };
    expect(nextAttempt(full, failure('peer-lost', hop), route)?.state.exclude).toEqual([
      ...exclude.slice(1),
      hop,
    ]);
    const again = nextAttempt({ ...fresh, exclude: [hop] }, failure('peer-lost', hop), route);
    expect(again?.state.exclude).toEqual([hop]);
  });

  it('waits for a server that is away for three minutes, and excludes whom it excluded', () => {
    const lost = nextAttempt(fresh, failure('peer-lost', hop), route)?.state ?? fresh;
    const delays: number[] = [];
    let attempt = nextAttempt(lost, failure('server-lost'), null);
    while (attempt !== null) {
      delays.push(attempt.delayMs);
      expect(attempt.state.exclude).toEqual([hop]);
      attempt = nextAttempt(attempt.state, failure('server-lost'), null);
    }
    expect(delays).toHaveLength(180);
    expect(delays.slice(0, 5)).toEqual([100, 200, 400, 800, 1000]);
  });

  it('ends before epochs run out', () => {
    expect(nextAttempt({ ...fresh, epoch: 0xffff }, failure('peer-lost', hop), route)).toBeNull();
  });

  it('begins to count anew with every token', () => {
    const tired: RetryState = { epoch: 9, exclude: [hop], failures: 16, waits: 180, oneByOne: [bystander] };
    expect(nextAttempt(tired, failure('peer-lost'), route)).toBeNull();
    expect(nextAttempt(afterToken(tired), failure('peer-lost'), route)?.state).toEqual({
      epoch: 10,
      exclude: [hop],
      failures: 1,
      waits: 0,
      oneByOne: [],
    });
  });

  it('asks a server that did not answer in time again, but not for ever', () => {
    const started: RetryState = { ...fresh, epoch: 3, exclude: [hop] };
    const attempt = nextAttempt(started, failure('timeout'), null);
    expect(attempt).toEqual({ state: { ...started, epoch: 4, failures: 1 }, delayMs: 100 });
    let tries = 0;
    for (let next = attempt; next !== null; next = nextAttempt(next.state, failure('timeout'), null))
      tries += 1;
    expect(tries).toBe(16);
  });

  it('waits as long as a server without room asks for, within reason', () => {
    const full = (retryAfterSeconds: number) =>
      nextAttempt(fresh, new SkeinError('busy', 'full', { data: { retryAfterSeconds } }), null)?.delayMs;
    expect([full(5), full(0), full(1e9), full(NaN)]).toEqual([5000, 100, 60_000, 100]);
  });

  it.each<ErrorCode>(['no-route', 'aborted', 'bad-argument'])(
    'does not repeat a request that failed with %s at the start',
    (code) => {
      expect(nextAttempt(fresh, failure(code), null)).toBeNull();
    },
  );
});
