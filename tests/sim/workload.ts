import { drawLength } from './lengths.ts';
import type { RequestLength } from './lengths.ts';
import type { Site } from './network.ts';
import type { Random } from './random.ts';
import type { Scenario } from './scenario.ts';

export interface Arrival extends RequestLength {
  readonly atSeconds: number;
  readonly site: Site;
}

/**
 * Requests of one run: a Poisson process whose rate may change. Drawn at the highest rate and thinned, so that it is exact.
 * The same for every policy.
 */
export function drawArrivals(scenario: Scenario, requestsPerSecond: number, random: Random): Arrival[] {
  const { warmUpSeconds } = scenario;
  const loadSeconds = scenario.rampSeconds + scenario.windowSeconds;
  const seconds = Array.from({ length: Math.ceil(loadSeconds) }, (_, second) => second);
  const highest = Math.max(...seconds.map((second) => scenario.rateFactor(second)));
  const arrivals: Arrival[] = [];
  let at = random.exponential(1 / (requestsPerSecond * highest));
  while (at < loadSeconds) {
    if (random.next() * highest < scenario.rateFactor(at)) {
      const length = drawLength(scenario.lengths, random);
      arrivals.push({
        ...length,
        atSeconds: warmUpSeconds + at,
        site: scenario.requesterSite(random),
      });
    }
    at += random.exponential(1 / (requestsPerSecond * highest));
  }
  return arrivals;
}
