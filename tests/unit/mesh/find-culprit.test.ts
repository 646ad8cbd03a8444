import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { findCulprit, LEAST_STALL_MS, MOST_STALL_MS, patienceMs } from '../../../src/mesh/find-culprit.ts';
import type { HopState, HopWatch } from '../../../src/mesh/find-culprit.ts';
import { DIAL_TIMEOUT_MS } from '../../../src/protocol/limits.ts';
import { peerId } from './local-mesh.ts';

const [first, middle, last] = [peerId(1), peerId(2), peerId(3)];
/** The prompt was sent, by the requester. */
const PROMPT = { upTo: 40, by: null };

function said(receivedUpTo: number, sentUpTo: number, typicalStepMs = 100): HopState {
  return { receivedUpTo, sentUpTo, steps: 7, typicalStepMs };
}

function route(...states: readonly (HopState | null)[]): HopWatch[] {
  return states.map((state, index) => ({
    peer: peerId(index + 1),
    state,
    unansweredMs: state === null ? 3_000 : 0,
    answerMs: 3_000,
    isReached: true,
    stalledMs: 0,
  }));
}

/** The same hops, one of them changed. */
function but(hops: readonly HopWatch[], hop: number, changes: Partial<HopWatch>): HopWatch[] {
  return hops.map((watch, index) => (index === hop ? { ...watch, ...changes } : watch));
}

describe('of a silent route', () => {
  it('the first hop that does not answer is silent', () => {
    const hops = route(said(40, 40), null, null);
    expect(findCulprit(hops, PROMPT)).toEqual({ kind: 'silent', peer: middle, behind: first, forMs: 3_000 });
    expect(findCulprit(route(null, null, null), PROMPT)).toMatchObject({ peer: first, behind: null });
    expect(findCulprit(but(hops, 1, { unansweredMs: 2_999 }), PROMPT)).toEqual({ kind: 'wait', peer: null });
    expect(findCulprit(but(hops, 1, { answerMs: 10_000 }), PROMPT)).toEqual({ kind: 'wait', peer: null });
  });

  it('a hop is not silent while the one before it has not answered', () => {
    const hops = but(route(null, null, null), 0, { unansweredMs: 10 });
    expect(findCulprit(hops, PROMPT)).toEqual({ kind: 'wait', peer: null });
  });

  it('the first hop with something to compute is waited for, as long as it computes', () => {
    const hops = route(said(40, 40), said(40, 16), said(16, 0));
    expect(findCulprit(hops, PROMPT)).toEqual({ kind: 'wait', peer: middle });
    const stalled = but(hops, 1, { stalledMs: LEAST_STALL_MS });
    expect(findCulprit(stalled, PROMPT)).toEqual({ kind: 'stalled', peer: middle, forMs: LEAST_STALL_MS });
    // Those behind have nothing to compute yet, or not the hop that all wait for.
    expect(findCulprit(but(hops, 2, { stalledMs: 60_000 }), PROMPT)).toEqual({ kind: 'wait', peer: middle });
    expect(findCulprit(but(hops, 0, { stalledMs: 60_000 }), PROMPT)).toEqual({ kind: 'wait', peer: middle });
  });

  it('a hop is waited for in proportion to its passes, within bounds', () => {
    const limits = [1, 100, 600, 1_000, 2_999, 3_000, 1e9].map((ms) => patienceMs(said(0, 0, ms)));
    expect(limits).toEqual([3_000, 3_000, 3_000, 5_000, 14_995, MOST_STALL_MS, MOST_STALL_MS]);
    expect(patienceMs(said(0, 0, 0))).toBe(10_000);
  });

  it('a hop that may be dialling the next has the time for that', () => {
    const hops = but(route(said(40, 0), null), 1, { isReached: false, answerMs: 10_000 });
    const dialling = but(hops, 0, { stalledMs: DIAL_TIMEOUT_MS });
    expect(findCulprit(dialling, PROMPT)).toEqual({ kind: 'wait', peer: first });
    expect(findCulprit(but(hops, 0, { stalledMs: DIAL_TIMEOUT_MS + 2_000 }), PROMPT)).toMatchObject({
      kind: 'stalled',
      peer: first,
    });
  });

  it('two hops that contradict each other are told, with who sent', () => {
    const hops = route(said(40, 40), said(32, 32), said(32, 32));
    expect(findCulprit(hops, PROMPT)).toEqual({ kind: 'contradiction', peer: middle, sender: first });
  });

  it('the first hop contradicts who fed it: the requester, or the last hop', () => {
    const hops = route(said(39, 39), said(39, 39), said(39, 39));
    expect(findCulprit(hops, PROMPT)).toEqual({ kind: 'contradiction', peer: first, sender: null });
    const fed = { upTo: 40, by: last };
    expect(findCulprit(hops, fed)).toEqual({ kind: 'contradiction', peer: first, sender: last });
  });

  it('a last hop that says it sent all withholds the rest', () => {
    const hops = route(said(40, 40), said(40, 40), said(40, 40));
    expect(findCulprit(hops, PROMPT)).toEqual({ kind: 'withheld', peer: last });
  });

  it('an honest hop that computes is never named, however the rows lie', () => {
    const counts = fc.array(fc.nat({ max: 100 }), { minLength: 2, maxLength: 12 });
    fc.assert(
      fc.property(counts, fc.nat({ max: 4_000 }), (numbers, typicalStepMs) => {
        // What is sent is received, since the question came behind it; what is received is sent sooner or later.
        const ordered = numbers.toSorted((a, b) => b - a);
        const hops = ordered.slice(0, -1).map((receivedUpTo, index): HopWatch => {
          const sentUpTo = ordered[index + 1] ?? 0;
          const state = said(receivedUpTo, sentUpTo, typicalStepMs);
          const stalledMs = Math.min(LEAST_STALL_MS, patienceMs(state)) - 1;
          return {
            peer: peerId(index + 1),
            state,
            unansweredMs: 0,
            answerMs: 3_000,
            isReached: true,
            stalledMs,
          };
        });
        const isAllSent = ordered.at(0) === ordered.at(-1);
        const verdict = findCulprit(hops, { upTo: ordered[0] ?? 0, by: null });
        expect(verdict.kind).toBe(isAllSent ? 'withheld' : 'wait');
      }),
    );
  });
});
