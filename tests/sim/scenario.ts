import type { ModelCard } from '../../src/protocol/signaling.ts';
import type { DeviceClass, Honesty } from './device.ts';
import type { LengthDistribution } from './lengths.ts';
import type { NetworkShape, Site } from './network.ts';
import type { Random } from './random.ts';
import type { LoadRates } from './simulated-peer.ts';

/** A device that comes, and when it goes. */
export interface Visit {
  readonly kind: DeviceClass;
  readonly site: Site;
  readonly joinsAt: number;
  /** Infinity for one that stays. */
  readonly leavesAt: number;
  /** Says goodbye and finishes what it can; its tab is closed, and its sockets with it; or it loses the network. */
  readonly leaving: 'politely' | 'closed' | 'vanished';
  /** Index of an earlier visit of the same device, whose weights it still has on disk. */
  readonly returnOf: number | null;
  /** Stretches in which it is slower than it was when it measured itself. */
  readonly slowdowns: readonly {
    readonly from: number;
    readonly until: number;
    readonly slowness: number;
  }[];
}

/** When an answer is good enough to count: its first token in so many seconds, and the others in so many each, on average. */
export interface Objective {
  readonly firstTokenSeconds: number;
  readonly secondsPerToken: number;
}

/** The first words in ten seconds, and then as fast as adults read: four words, or five tokens, a second. */
export const READING_PACE: Objective = { firstTokenSeconds: 10, secondsPerToken: 0.2 };

export interface Scenario {
  readonly name: string;
  /** For people: devices, network, model, load. */
  readonly about: string;
  readonly card: ModelCard;
  /** Requests per second that are tried, in order. */
  readonly rates: readonly number[];
  readonly lengths: LengthDistribution;
  /** Times the rate, by seconds since the first request may come. */
  rateFactor(loadSeconds: number): number;
  /** Devices come and load; nobody asks. */
  readonly warmUpSeconds: number;
  /** Requests come, but the mesh is not yet as full as it will be: throughput and idle time are not counted. */
  readonly rampSeconds: number;
  /** Requests go on coming, and what happens is counted. */
  readonly windowSeconds: number;
  /** Nobody asks any more; what was asked is answered. */
  readonly drainSeconds: number;
  readonly objective: Objective;
  readonly network: NetworkShape;
  readonly honesty: Honesty;
  readonly loads: LoadRates;
  /** After a polite goodbye, until it is gone whatever it still does. */
  readonly graceSeconds: number;
  visits(random: Random): readonly Visit[];
  /** Where somebody who asks is. */
  requesterSite(random: Random): Site;
}
