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
  const { warmUpSeconds, windowSeconds } = scenario;
  const seconds = Array.from({ length: Math.ceil(windowSeconds) }, (_, second) => second);
  const highest = Math.max(...seconds.map((second) => scenario.rateFactor(second)));
  const arrivals: Arrival[] = [];
  let windowed = random.exponential(1 / (requestsPerSecond * highest));
  while (windowed < windowSeconds) {
    if (random.next() * highest < scenario.rateFactor(windowed)) {
      const length = drawLength(scenario.lengths, random);
      arrivals.push({
        ...length,
        atSeconds: warmUpSeconds + windowed,
        site: scenario.requesterSite(random),
      });
    }
    windowed += random.exponential(1 / (requestsPerSecond * highest));
  }
  return arrivals;
}
