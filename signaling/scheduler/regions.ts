import type { PeerId } from '../../src/protocol/ids.ts';
import { Clusters, FIRST_MEASURED, NEAR_SECONDS } from './clusters.ts';
import type { RegionInput } from './clusters.ts';
import { medianOf } from './median.ts';
import { UNKNOWN_RTT_SECONDS } from './network.ts';

export interface Regions {
  /** Of every peer. */
  readonly of: ReadonlyMap<PeerId, number>;
  /** [region][region], symmetrical. */
  readonly rttSeconds: readonly (readonly number[])[];
}

/**
 * Sorts peers into clusters by round trip. Measured ways decide; a peer without them is placed by its round trip to the
 * server, for two peers are no farther from each other than both are from the server together.
 */
export function findRegions(input: RegionInput): Regions {
  const of = new Clusters(input).settle();
  return { of, rttSeconds: regionRtts(input, of) };
}

/** Medians of the measured ways, and over the server where there are none. */
function regionRtts(
  { peers, serverRttSeconds, ways }: RegionInput,
  of: ReadonlyMap<PeerId, number>,
): number[][] {
  const count = Math.max(FIRST_MEASURED, ...of.values()) + 1;
  const measured: (number[] | undefined)[] = new Array<undefined>(count * count).fill(undefined);
  for (const { a, b, rttSeconds } of ways) {
    const [from, to] = [of.get(a), of.get(b)];
    if (from === undefined || to === undefined) continue;
    (measured[Math.min(from, to) * count + Math.max(from, to)] ??= []).push(rttSeconds);
  }
  const serverRtts = Array.from({ length: count }, (): number[] => []);
  for (const peer of peers) {
    const seconds = serverRttSeconds.get(peer);
    if (seconds !== undefined) serverRtts[of.get(peer) ?? 0]?.push(seconds);
  }
  const toServer = serverRtts.map(medianOf);

  const between = (a: number, b: number) => {
    const seconds = medianOf(measured[Math.min(a, b) * count + Math.max(a, b)] ?? []);
    if (seconds !== null) return seconds;
    if (a === b && a >= FIRST_MEASURED) return NEAR_SECONDS / 2;
    const [fromServer, backToServer] = [toServer[a] ?? null, toServer[b] ?? null];
    return fromServer === null || backToServer === null ? UNKNOWN_RTT_SECONDS : fromServer + backToServer;
  };
  return Array.from({ length: count }, (_, a) => Array.from({ length: count }, (__, b) => between(a, b)));
}
