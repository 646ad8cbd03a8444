import type { PeerId } from '../../src/protocol/ids.ts';
import { medianOf } from './median.ts';

/** Peers nearer than this may share a region: one country, or a small continent. */
export const NEAR_SECONDS = 0.025;
/** A peer stays in its region until most of it is farther than this. */
const FAR_SECONDS = 1.5 * NEAR_SECONDS;
/** No member is farther from the first of its region, over measured ways: neighbours of neighbours make no continent. */
export const RADIUS_SECONDS = 2 * NEAR_SECONDS;
/** Regions that lie nearer than this become one. */
const MERGE_SECONDS = 0.8 * NEAR_SECONDS;
/** Measured regions; more are not told apart. */
const MAX_MEASURED_REGIONS = 64;

/** Upper ends of the round trips to the server by which peers without measured ways are sorted; what is over all is last. */
const SERVER_BANDS_SECONDS = [NEAR_SECONDS / 2, 0.025, 0.05, 0.1, Infinity];
/** A peer leaves its band when its round trip is beyond the band's ends by this factor. */
const BAND_SLACK = 1.2;
/** Region of peers of which nothing is known. */
export const UNKNOWN_REGION = 0;
const FIRST_BAND = 1;
/** The first region whose members are near each other by measurement. */
export const FIRST_MEASURED = FIRST_BAND + SERVER_BANDS_SECONDS.length;

/** A measured way between two peers. */
export interface MeasuredWay {
  readonly a: PeerId;
  readonly b: PeerId;
  readonly rttSeconds: number;
}

export interface RegionInput {
  /** In order of arrival. The first of a region is what its other members are held against. */
  readonly peers: readonly PeerId[];
  readonly serverRttSeconds: ReadonlyMap<PeerId, number>;
  readonly ways: readonly MeasuredWay[];
  /** Regions do not flip on noise: a peer stays where it was until it is plainly elsewhere. */
  readonly previous: ReadonlyMap<PeerId, number>;
}

interface Member {
  readonly peer: PeerId;
  readonly serverSeconds: number;
  readonly ways: { readonly to: Member; readonly seconds: number }[];
  region: number;
  /** Over measured ways, to the first of its region; Infinity where they do not lead there. */
  reachSeconds: number;
}

interface Cluster {
  readonly members: Set<Member>;
  first: Member | null;
}

/** The clusters while they are sought: members enter, move and merge. */
export class Clusters {
  readonly #members: readonly Member[];
  /** By region; measured ones only. */
  readonly #clusters: (Cluster | undefined)[] = [];

  constructor({ peers, serverRttSeconds, ways, previous }: RegionInput) {
    this.#members = peers.map((peer) => ({
      peer,
      serverSeconds: serverRttSeconds.get(peer) ?? Infinity,
      ways: [],
      region: previous.get(peer) ?? UNKNOWN_REGION,
      reachSeconds: Infinity,
    }));
    const byPeer = new Map(this.#members.map((member) => [member.peer, member]));
    for (const { a, b, rttSeconds } of ways) {
      const [from, to] = [byPeer.get(a), byPeer.get(b)];
      if (from === undefined || to === undefined) continue;
      from.ways.push({ to, seconds: rttSeconds });
      to.ways.push({ to: from, seconds: rttSeconds });
    }
  }

  settle(): Map<PeerId, number> {
    for (const member of this.#members) {
      if (member.region >= FIRST_MEASURED) this.#enter(member, member.region);
    }
    for (const cluster of this.#clusters) if (cluster !== undefined) this.#measureReach(cluster);
    for (const member of this.#members) this.#place(member);
    this.#merge();
    return new Map(this.#members.map(({ peer, region }) => [peer, region]));
  }

  #place(member: Member): void {
    const distances = this.#distances(member);
    const home = this.#clusters[member.region];
    const isAlone = home?.members.size === 1;
    if (home !== undefined && !isAlone) {
      const homeSeconds = distances.get(member.region);
      if (homeSeconds === undefined || homeSeconds <= FAR_SECONDS) return;
    }
    const elsewhere = this.#nearest(member, distances) ?? this.#nearOverServer(member, distances);
    const ownRegion = () => (isAlone ? member.region : this.#freeRegion());
    const region = elsewhere ?? (member.ways.length > 0 ? ownRegion() : null);
    if (region !== member.region) this.#move(member, region ?? bandOf(member.serverSeconds, member.region));
  }

  /** The middle of its measured ways into each measured region. */
  #distances(member: Member): Map<number, number> {
    const byRegion = new Map<number, number[]>();
    for (const { to, seconds } of member.ways) {
      if (to.region < FIRST_MEASURED) continue;
      const list = byRegion.get(to.region);
      if (list === undefined) byRegion.set(to.region, [seconds]);
      else list.push(seconds);
    }
    return new Map([...byRegion].map(([region, list]) => [region, median(list)]));
  }

  #nearest(member: Member, distances: ReadonlyMap<number, number>): number | null {
    let nearest: number | null = null;
    let least = NEAR_SECONDS;
    for (const [region, seconds] of distances) {
      const isNearer = seconds < least || (seconds === least && nearest !== null && region < nearest);
      if (region === member.region || !isNearer) continue;
      if (this.#reach(member, region) > RADIUS_SECONDS) continue;
      nearest = region;
      least = seconds;
    }
    return nearest;
  }

  /** A region it was not measured against, and is near by both round trips to the server. */
  #nearOverServer(member: Member, distances: ReadonlyMap<number, number>): number | null {
    for (const [region, cluster] of this.#clusters.entries()) {
      const serverSeconds = cluster?.first?.serverSeconds ?? Infinity;
      if (
        region !== member.region &&
        !distances.has(region) &&
        member.serverSeconds + serverSeconds < NEAR_SECONDS
      )
        return region;
    }
    return null;
  }

  /** To the first of a region: measured, or over one member that was measured against it. */
  #reach(member: Member, region: number): number {
    let least = Infinity;
    for (const { to, seconds } of member.ways) {
      if (to.region !== region) continue;
      if (to === this.#clusters[region]?.first) return seconds;
      least = Math.min(least, seconds + to.reachSeconds);
    }
    return least;
  }

  #measureReach({ first, members }: Cluster): void {
    if (first === null) return;
    first.reachSeconds = 0;
    const linked = first.ways.filter(({ to }) => to.region === first.region);
    for (const { to, seconds } of linked) to.reachSeconds = seconds;
    const isLinked = new Set(linked.map(({ to }) => to).concat(first));
    for (const member of members) {
      if (isLinked.has(member)) continue;
      for (const { to, seconds } of member.ways) {
        if (isLinked.has(to)) member.reachSeconds = Math.min(member.reachSeconds, seconds + to.reachSeconds);
      }
    }
  }

  #move(member: Member, region: number): void {
    const left = this.#clusters[member.region];
    left?.members.delete(member);
    if (left?.first === member) left.first = [...left.members][0] ?? null;
    member.region = region;
    member.reachSeconds = Infinity;
    if (region < FIRST_MEASURED) return;
    this.#enter(member, region);
    const isFirst = this.#clusters[region]?.first === member;
    member.reachSeconds = isFirst ? 0 : this.#reach(member, region);
  }

  #enter(member: Member, region: number): void {
    member.region = region;
    const cluster = (this.#clusters[region] ??= { members: new Set(), first: null });
    cluster.members.add(member);
    cluster.first ??= member;
  }

  #freeRegion(): number | null {
    for (let region = FIRST_MEASURED; region < FIRST_MEASURED + MAX_MEASURED_REGIONS; region += 1) {
      if ((this.#clusters[region]?.members.size ?? 0) > 0) continue;
      this.#clusters[region] = undefined;
      return region;
    }
    return null;
  }

  /** Regions that grew apart from one place, before anybody measured between them. */
  #merge(): void {
    for (const pair of this.#nearPairs()) {
      const [a, b] = pair.map((region) => this.#clusters[region]);
      if (a === undefined || b === undefined) continue;
      const [larger, smaller] = a.members.size >= b.members.size ? [a, b] : [b, a];
      const { first } = smaller;
      const region = larger.first?.region;
      if (first === null || region === undefined || larger === smaller) continue;
      const firstSeconds = this.#reach(first, region);
      const isInReach = (member: Member) =>
        Math.min(this.#reach(member, region), firstSeconds + member.reachSeconds) <= RADIUS_SECONDS;
      for (const member of [...smaller.members].filter(isInReach)) this.#move(member, region);
    }
  }

  /** Each region at most once, so that what was measured of a pair still holds when it becomes one. */
  #nearPairs(): [number, number][] {
    const between = new Map<string, { pair: [number, number]; seconds: number[] }>();
    for (const member of this.#members) {
      for (const { to, seconds } of member.ways) {
        if (member.region < FIRST_MEASURED || member.region >= to.region) continue;
        const key = `${member.region} ${to.region}`;
        const known = between.get(key);
        if (known === undefined) between.set(key, { pair: [member.region, to.region], seconds: [seconds] });
        else known.seconds.push(seconds);
      }
    }
    const taken = new Set<number>();
    const pairs: [number, number][] = [];
    for (const { pair, seconds } of between.values()) {
      if (pair.some((region) => taken.has(region))) continue;
      if (median(seconds) > MERGE_SECONDS || Math.max(...seconds) > RADIUS_SECONDS) continue;
      for (const region of pair) taken.add(region);
      pairs.push(pair);
    }
    return pairs;
  }
}

/**
 * Two peers whose round trips to the server are short are near each other; of others only that is known. A peer leaves its
 * band when it is plainly out of it.
 */
function bandOf(serverSeconds: number, previous: number): number {
  if (serverSeconds === Infinity) return UNKNOWN_REGION;
  const band = SERVER_BANDS_SECONDS.findIndex((end) => serverSeconds <= end);
  const stayed = previous - FIRST_BAND;
  const [from, to] = [SERVER_BANDS_SECONDS[stayed - 1] ?? 0, SERVER_BANDS_SECONDS[stayed] ?? 0];
  const stays = serverSeconds > from / BAND_SLACK && serverSeconds < to * BAND_SLACK;
  return FIRST_BAND + (stays ? stayed : band);
}

function median(values: readonly number[]): number {
  return medianOf(values) ?? Infinity;
}
