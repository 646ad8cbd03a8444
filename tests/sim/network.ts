import type { Random } from './random.ts';

/** Where somebody is connected. */
export interface Site {
  readonly region: number;
  /** One way, from the device to its region's backbone: Wi-Fi, a phone's radio. */
  readonly accessSeconds: number;
  readonly uplinkBytesPerSecond: number;
  readonly downlinkBytesPerSecond: number;
}

export interface NetworkShape {
  /** Round trips between the backbones of regions, [region][region]. */
  readonly regionRttSeconds: readonly (readonly number[])[];
  /** Mean of what a message takes longer than it had to; exponential. */
  readonly jitterSeconds: number;
  /** Of the pairs of peers, how many find no direct way, and what a relay costs them. */
  readonly relayedShare: number;
  readonly relayRttSeconds: number;
  readonly relayBytesPerSecond: number;
  /** Where the server stands. */
  readonly serverRegion: number;
}

/** A device on the network. Its uplink sends one message after the other. */
export class Endpoint {
  uplinkFreeAt = 0;
  /** By receiver, when the last message gets there: messages do not overtake each other. */
  readonly arrivals = new Map<number, number>();

  constructor(
    /** Decides, with the other end's, whether a pair is relayed. */
    readonly address: number,
    readonly site: Site,
  ) {}
}

/** The ways between devices as they really are. */
export class Network {
  constructor(
    private readonly shape: NetworkShape,
    private readonly random: Random,
  ) {}

  /** Without jitter and queues. */
  rttSeconds(a: Endpoint, b: Endpoint): number {
    if (a === b) return 0;
    const access = 2 * (a.site.accessSeconds + b.site.accessSeconds);
    const relay = this.#isRelayed(a, b) ? this.shape.relayRttSeconds : 0;
    return this.#regionRtt(a.site.region, b.site.region) + access + relay;
  }

  bytesPerSecond(a: Endpoint, b: Endpoint): number {
    const direct = Math.min(a.site.uplinkBytesPerSecond, b.site.downlinkBytesPerSecond);
    return this.#isRelayed(a, b) ? Math.min(direct, this.shape.relayBytesPerSecond) : direct;
  }

  serverRttSeconds(endpoint: Endpoint): number {
    return this.#regionRtt(endpoint.site.region, this.shape.serverRegion) + 2 * endpoint.site.accessSeconds;
  }

  /** A round trip as it is measured: never shorter than it is, and noisy. */
  ping(a: Endpoint, b: Endpoint, random: Random): number {
    return this.rttSeconds(a, b) + 2 * random.exponential(this.shape.jitterSeconds);
  }

  /** Sends a message. @returns when it has all arrived. */
  arrival(from: Endpoint, to: Endpoint, sizeBytes: number, nowSeconds: number): number {
    if (from === to) return nowSeconds;
    const sendSeconds = sizeBytes / this.bytesPerSecond(from, to);
    from.uplinkFreeAt = Math.max(nowSeconds, from.uplinkFreeAt) + sendSeconds;
    const travel = this.rttSeconds(from, to) / 2 + this.random.exponential(this.shape.jitterSeconds);
    const arrival = Math.max(from.uplinkFreeAt + travel, from.arrivals.get(to.address) ?? 0);
    from.arrivals.set(to.address, arrival);
    return arrival;
  }

  #regionRtt(a: number, b: number): number {
    return this.shape.regionRttSeconds[a]?.[b] ?? 0;
  }

  #isRelayed(a: Endpoint, b: Endpoint): boolean {
    if (this.shape.relayedShare === 0) return false;
    const [low, high] = a.address < b.address ? [a.address, b.address] : [b.address, a.address];
    const mixed = Math.imul(Math.imul(low + 1, 0x9e3779b1) ^ (high + 0x7f4a7c15), 0x85ebca6b);
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32 < this.shape.relayedShare;
  }
}
