import { describe, expect, test } from 'vitest';
import { checksOf } from '../../sim/compare.ts';
import type { Result } from '../../sim/compare.ts';
import type { Outcome } from '../../sim/outcome.ts';

const POLICIES = ['skein', 'parallax-shipped', 'parallax-paper', 'petals', 'room-host'];
const GOOD: Outcome = {
  requests: 100,
  answered: 100,
  lost: 0,
  refused: 0,
  unfinished: 0,
  askedTokensPerSecond: 100,
  losses: 0,
  tokensPerSecond: 100,
  goodTokensPerSecond: 100,
  latency: { p50: 10, p99: 20 },
  timeToFirstToken: { p50: 1, p99: 2 },
  timePerToken: { p50: 0.1, p99: 0.2 },
  idleShare: 0,
  againShare: 0,
  preemptions: 0,
  peakCacheShare: 0.5,
  steps: 1000,
  keptUp: 1,
};
/** Others fall behind. */
const SLOW: Partial<Outcome> = {
  tokensPerSecond: 50,
  goodTokensPerSecond: 50,
  keptUp: 0.5,
  latency: { p50: 50, p99: 100 },
};

function results(ours: Partial<Outcome> = {}, others: Partial<Outcome> = SLOW, names = POLICIES): Result[] {
  return names.map((policy) => ({
    policy,
    requestsPerSecond: 4,
    outcome: { ...GOOD, ...(policy === 'skein' ? ours : others) },
  }));
}

function holds(scenario: string, given: readonly Result[]): boolean {
  return checksOf(scenario, given).every((check) => check.holds);
}

describe.each(['paper', 'browser-public'])('the checks of %s', (scenario) => {
  test('hold where Skein is twice as good', () => {
    expect(checksOf(scenario, results()).length).toBeGreaterThan(2);
    expect(holds(scenario, results())).toBe(true);
  });

  test('fail where nothing ran, or anybody did not', () => {
    expect(holds(scenario, [])).toBe(false);
    for (const absent of POLICIES) {
      const names = POLICIES.filter((policy) => policy !== absent);
      expect(holds(scenario, results({}, SLOW, names)), absent).toBe(false);
    }
  });

  test.each([
    ['skein has no figure', { tokensPerSecond: NaN, goodTokensPerSecond: NaN }, SLOW],
    ['others have no figure', {}, { ...SLOW, tokensPerSecond: NaN, goodTokensPerSecond: NaN }],
    ['others did nothing at all', {}, { ...SLOW, tokensPerSecond: 0, goodTokensPerSecond: 0 }],
    ['skein did nothing', { tokensPerSecond: 0, goodTokensPerSecond: 0 }, SLOW],
    [
      'skein is no better',
      { tokensPerSecond: 60, goodTokensPerSecond: 60, latency: { p50: 1, p99: 90 } },
      SLOW,
    ],
  ])('fail where %s', (_, ours, others) => {
    expect(holds(scenario, results(ours, others))).toBe(false);
  });
});

describe('the checks of browser-public', () => {
  test.each(['lost', 'refused', 'unfinished'])('fail where one request is %s', (what) => {
    expect(holds('browser-public', results({ answered: 99, [what]: 1 }))).toBe(false);
  });

  test('ask for no more than as much where the best other gives all that is asked for', () => {
    expect(holds('browser-public', results({}, {}))).toBe(true);
    expect(holds('browser-public', results({ goodTokensPerSecond: 96 }, {}))).toBe(false);
  });

  test('ask for nine tenths of what is asked for where half as much again is more than that', () => {
    // 100 are asked for: 1.5 times 80 would be 120, and 1.5 times 50 are 75.
    const against = (best: number, ours: number) =>
      holds('browser-public', results({ goodTokensPerSecond: ours }, { goodTokensPerSecond: best }));
    expect([against(80, 91), against(80, 89)]).toEqual([true, false]);
    expect([against(50, 76), against(50, 74)]).toEqual([true, false]);
  });
});

describe('the checks of paper', () => {
  /** At a rate with which all keep up, and one at which the shipped Parallax does not. */
  const atTwoRates = (ours: Partial<Outcome>, low: Partial<Outcome> = {}): Result[] => [
    ...results(ours, low).map((result) => ({ ...result, requestsPerSecond: 1 })),
    ...results(),
  ];

  test('fail where the highest rate saturates nobody', () => {
    expect(holds('paper', atTwoRates({}))).toBe(true);
    expect(holds('paper', results({}, {}))).toBe(false);
  });

  test('fail where Skein answers later than who keeps up as well', () => {
    expect(holds('paper', atTwoRates({ latency: { p50: 10, p99: 20.5 } }))).toBe(true);
    expect(holds('paper', atTwoRates({ latency: { p50: 10, p99: 21 } }))).toBe(false);
    expect(holds('paper', atTwoRates({ latency: { p50: 10, p99: 21 } }, SLOW))).toBe(true);
  });

  test('let p99 latency stand for throughput, but not the other way round at a lower rate', () => {
    const fast = { tokensPerSecond: 55, latency: { p50: 10, p99: 50 } };
    expect(holds('paper', results(fast))).toBe(true);
    expect(holds('paper', results({ ...fast, latency: { p50: 10, p99: 61 } }))).toBe(false);
  });
});
