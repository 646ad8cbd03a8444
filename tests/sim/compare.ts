import { atLeast, atMost, exactly } from '../bench/report.ts';
import type { Check } from '../bench/report.ts';
import type { Outcome } from './outcome.ts';

/** What a policy did at one rate. */
export interface Result {
  readonly policy: string;
  readonly requestsPerSecond: number;
  readonly outcome: Outcome;
}

/** Who must have run, in the scenarios where they are compared: a check against nobody would hold. */
const COMPARED_SCENARIOS = ['paper', 'browser-public'];
const COMPARED_POLICIES = ['skein', 'parallax-shipped', 'parallax-paper', 'petals', 'room-host'];
/** How much worse than another policy counts as no worse: the noise of one run. */
const TOLERANCE = 0.03;
/** A policy keeps up with a rate while it answers within the window this share of what is asked in it. */
const KEEPS_UP = 0.9;

/** What the results of a scenario must show. */
export function checksOf(scenario: string, results: readonly Result[]): Check[] {
  if (!COMPARED_SCENARIOS.includes(scenario)) return [];
  const rates = [...new Set(results.map(({ requestsPerSecond }) => requestsPerSecond))];
  const checks = rates.flatMap((rate) => {
    const atRate = results.filter(({ requestsPerSecond }) => requestsPerSecond === rate);
    const ran = new Map(atRate.map(({ policy, outcome }) => [policy, outcome]));
    const missing = COMPARED_POLICIES.filter((policy) => !ran.has(policy));
    const whole = exactly(`policies that did not run at ${rate} req/s`, missing.length, 0);
    const ours = ran.get('skein');
    if (ours === undefined || missing.length > 0) return [whole];
    const others = COMPARED_POLICIES.slice(1).flatMap((policy) => ran.get(policy) ?? []);
    const compared = scenario === 'paper' ? neverWorse : publicChecks;
    return [whole, ...compared(rate, ours, others)];
  });
  if (scenario === 'paper') checks.push(...saturationChecks(results));
  return rates.length === 0 ? [exactly('rates that were not run', 1, 0)] : checks;
}

/** At the highest rate, where the shipped Parallax has long been falling behind: what each can do at most. */
function saturationChecks(results: readonly Result[]): Check[] {
  const highest = Math.max(...results.map(({ requestsPerSecond }) => requestsPerSecond));
  const at = (name: string) =>
    results.find(({ policy, requestsPerSecond }) => policy === name && requestsPerSecond === highest)
      ?.outcome;
  const [shipped, ours] = [at('parallax-shipped'), at('skein')];
  const isSaturated = atMost(
    `what parallax-shipped answers of what is asked at ${highest} req/s, so that it is saturated`,
    shipped?.keptUp ?? NaN,
    KEEPS_UP,
  );
  if (shipped === undefined || ours === undefined || !isSaturated.holds) return [isSaturated];
  const throughput = ratio(ours.tokensPerSecond, shipped.tokensPerSecond);
  const latency = ratio(ours.latency.p99, shipped.latency.p99);
  // One of the two is asked for.
  const better =
    latency <= 0.6 && !(throughput >= 1.5)
      ? atMost(`p99 latency of skein over parallax-shipped's at ${highest} req/s`, latency, 0.6)
      : atLeast(`throughput of skein over parallax-shipped's at ${highest} req/s`, throughput, 1.5);
  return [isSaturated, better];
}

/** In throughput at every rate; in latency against whoever keeps up as well. */
function neverWorse(rate: number, ours: Outcome, others: readonly Outcome[]): Check[] {
  const best = Math.max(...others.map(({ tokensPerSecond }) => tokensPerSecond));
  const throughput = atLeast(
    `throughput of skein over the best other's at ${rate} req/s`,
    ratio(ours.tokensPerSecond, best),
    1 - TOLERANCE,
  );
  return [throughput, ...latencyChecks(rate, ours, others)];
}

/** A policy that does not keep up answers late whatever it does: only those that do are compared. */
function latencyChecks(rate: number, ours: Outcome, others: readonly Outcome[]): Check[] {
  const keepUp = others.filter(({ keptUp }) => keptUp >= KEEPS_UP);
  if (!(ours.keptUp >= KEEPS_UP) || keepUp.length === 0) return [];
  const best = Math.min(...keepUp.map(({ latency }) => latency.p99));
  const name = `p99 latency of skein over the best other's that keeps up at ${rate} req/s`;
  return [atMost(name, ratio(ours.latency.p99, best), 1 + TOLERANCE)];
}

/** One and a half times the goodput of the best other; where that is more than is asked for, nearly all that is asked for. */
function publicChecks(rate: number, ours: Outcome, others: readonly Outcome[]): Check[] {
  const best = others.reduce((a, b) => (b.goodTokensPerSecond > a.goodTokensPerSecond ? b : a));
  const nearlyAll = ratio(KEEPS_UP * best.askedTokensPerSecond, best.goodTokensPerSecond);
  const goodput = atLeast(
    `goodput of skein over the best other's at ${rate} req/s`,
    ratio(ours.goodTokensPerSecond, best.goodTokensPerSecond),
    Math.max(1 - TOLERANCE, Math.min(1.5, nearlyAll)),
  );
  const unanswered = ours.requests - ours.answered;
  return [
    goodput,
    atLeast(`requests at ${rate} req/s`, ours.requests, 1),
    exactly(`requests that skein does not answer at ${rate} req/s`, unanswered, 0),
  ];
}

/** NaN, which holds no bound, over what is not there. */
function ratio(value: number, base: number): number {
  return base > 0 && Number.isFinite(base) ? value / base : NaN;
}
