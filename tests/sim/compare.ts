import { atLeast, atMost, exactly } from '../bench/report.ts';
import type { Check } from '../bench/report.ts';
import type { Outcome } from './outcome.ts';

/** What a policy did at one rate. */
export interface Result {
  readonly policy: string;
  readonly requestsPerSecond: number;
  readonly outcome: Outcome;
}

/** How much worse than another policy counts as no worse: the noise of one run. */
const TOLERANCE = 0.03;
/** A policy keeps up with a rate while it answers within the window this share of what is asked in it. */
const KEEPS_UP = 0.9;

/** What the results of a scenario must show. Checks of policies that did not run are left out. */
export function checksOf(scenario: string, results: readonly Result[]): Check[] {
  const checks: Check[] = [];
  const rates = [...new Set(results.map(({ requestsPerSecond }) => requestsPerSecond))];
  for (const rate of rates) {
    const atRate = results.filter(({ requestsPerSecond }) => requestsPerSecond === rate);
    const ours = atRate.find(({ policy }) => policy === 'skein')?.outcome;
    if (ours === undefined) continue;
    const others = atRate.filter(({ policy }) => policy !== 'skein');
    if (scenario === 'browser-public') checks.push(...publicChecks(rate, ours, others));
    if (scenario === 'paper' && others.length > 0) checks.push(neverWorse(rate, ours, others));
  }
  if (scenario === 'paper') checks.push(...saturationChecks(results));
  return checks;
}

/** At the highest rate, where the shipped Parallax has long been falling behind: what each can do at most. */
function saturationChecks(results: readonly Result[]): Check[] {
  const shipped = results.findLast(({ policy }) => policy === 'parallax-shipped');
  const ours = results.find(
    ({ policy, requestsPerSecond }) => policy === 'skein' && requestsPerSecond === shipped?.requestsPerSecond,
  );
  if (shipped === undefined || ours === undefined || shipped.outcome.keptUp >= KEEPS_UP) return [];
  const throughput = ours.outcome.tokensPerSecond / shipped.outcome.tokensPerSecond;
  const latency = ours.outcome.latency.p99 / shipped.outcome.latency.p99;
  const at = `at ${shipped.requestsPerSecond} req/s, where parallax-shipped is saturated`;
  // One of the two is asked for.
  return throughput < 1.5 && latency <= 0.6
    ? [atMost(`p99 latency of skein over parallax-shipped's ${at}`, latency, 0.6)]
    : [atLeast(`throughput of skein over parallax-shipped's ${at}`, throughput, 1.5)];
}

function neverWorse(rate: number, ours: Outcome, others: readonly Result[]): Check {
  const best = Math.max(...others.map(({ outcome }) => outcome.tokensPerSecond));
  return atLeast(
    `throughput of skein over the best other's at ${rate} req/s`,
    ours.tokensPerSecond / best,
    1 - TOLERANCE,
  );
}

/** Where the best other keeps up there is nothing to be won: then ours must be no worse. */
function publicChecks(rate: number, ours: Outcome, others: readonly Result[]): Check[] {
  const lost = exactly(`requests that skein loses at ${rate} req/s`, ours.lost + ours.unfinished, 0);
  const best = others.reduce<Outcome | null>(
    (before, { outcome }) =>
      before === null || outcome.goodTokensPerSecond > before.goodTokensPerSecond ? outcome : before,
    null,
  );
  if (best === null) return [lost];
  const isSaturated = best.goodTokensPerSecond < KEEPS_UP * best.askedTokensPerSecond;
  const ratio = ours.goodTokensPerSecond / best.goodTokensPerSecond;
  const name = `goodput of skein over the best other's at ${rate} req/s`;
  return [atLeast(name, ratio, isSaturated ? 1.5 : 1 - TOLERANCE), lost];
}
