import { SkeinError } from '../src/protocol/errors.ts';
import type { PeerId } from '../src/protocol/ids.ts';
import type { Hop } from '../src/protocol/route.ts';
import type { Capability, LinkReport, ModelCard, StageReport } from '../src/protocol/signaling.ts';
import { atMost, slowedBy, uncheckedLimit, withinReason } from './believed.ts';
import { LINK_MEMORY_MS, LinkBook } from './link-book.ts';
import type { KnownLink } from './link-book.ts';
import { PeerSpeed } from './peer-speed.ts';
import { probesOf } from './probes.ts';
import { stepSeconds } from './scheduler/cost.ts';
import { medianOf } from './scheduler/median.ts';
import { ONE_REGION } from './scheduler/network.ts';
import { findRegions } from './scheduler/regions.ts';
import type { Link, Network } from './scheduler/types.ts';
import { halvings, Smoothed } from './smoothed.ts';

/** What depends on all peers, and on time, is reckoned again after this long. */
const REFRESH_MS = 1_000;
/** Regions and ways, which cost more and change more slowly; newcomers are placed at once. */
export const NETWORK_REFRESH_MS = 5_000;
const SERVER_RTT_HALF_LIFE_MS = 30_000;
const BUSY_HALF_LIFE_MS = 15_000;
/** In silence a peer counts as less and less busy. */
const BUSY_MEMORY_MS = 30_000;
/** A way that was spoken of within this time needs no probe. */
const PROBE_FRESH_MS = 300_000;
/** Fewer steps in one report, or tokens in one answer, say too little about speed. */
const MIN_STEPS = 4;
const MIN_OUTCOME_TOKENS = 8;
/** Who computes all the time is waited for three times as long as a step takes. */
const MAX_WAITING_SHARE = 0.75;
/** A median over fewer peers is not the mesh's. */
const MIN_MESH_PEERS = 3;

/** What a peer says it measured since its last report. */
export interface PeerReport {
  readonly stage: StageReport | null;
  readonly links: readonly LinkReport[];
}

/** How a request went: tokens after the first, and the seconds they took. */
export interface RequestOutcome {
  readonly tokens: number;
  readonly seconds: number;
}

interface PeerRecord {
  claim: Capability;
  /** What its speed is measured against: its claim, and while nobody has checked that, no more than a limit. */
  base: Capability;
  readonly speed: PeerSpeed;
  readonly serverRtt: Smoothed;
  readonly busyShare: Smoothed;
  cacheTokens: number | null;
}

/**
 * What the server believes of peers and of the ways between them: their own words, smoothed and aged, and held against
 * the words of others. Does no I/O and has no clock: every time is told, in milliseconds of a clock that never goes
 * back. Peers that never joined, or left, are unknown: what is said of them is ignored.
 */
export class Measurements {
  readonly #models: readonly ModelCard[];
  /** In order of arrival. */
  readonly #peers = new Map<PeerId, PeerRecord>();
  readonly #links = new LinkBook();
  #regions: ReadonlyMap<PeerId, number> = new Map();
  #network: Network = ONE_REGION;
  #meshSlowness = 0;
  #nowMs = 0;
  #refreshedMs = -Infinity;
  #networkFoundMs = -Infinity;
  #hasNewcomers = false;

  /** @param models whose slices peers may report steps of; read anew each time. */
  constructor(models: readonly ModelCard[]) {
    this.#models = models;
  }

  /** A peer lends its device, or tells a new capability; what was measured of it stays. */
  joined(peer: PeerId, capability: Capability, nowMs: number): void {
    this.#pass(nowMs);
    const claim = withinReason(capability);
    const known = this.#peers.get(peer);
    if (known === undefined) {
      this.#hasNewcomers = true;
      this.#peers.set(peer, {
        claim,
        base: claim,
        speed: new PeerSpeed(),
        serverRtt: new Smoothed(SERVER_RTT_HALF_LIFE_MS),
        busyShare: new Smoothed(BUSY_HALF_LIFE_MS),
        cacheTokens: null,
      });
    } else {
      known.claim = claim;
      known.base = { ...claim, ...atMost(claim, known.base) };
    }
    this.#limitUnchecked();
  }

  reported(peer: PeerId, { stage, links }: PeerReport, nowMs: number): void {
    this.#pass(nowMs);
    const record = this.#peers.get(peer);
    if (record === undefined) return;
    this.#links.report(peer, links, (other) => this.#peers.has(other), nowMs);
    if (stage === null) return;
    record.cacheTokens = stage.cacheTokens;
    record.busyShare.add(Math.min(1, stage.busySeconds / stage.seconds), nowMs);
    const card = this.#models.find(({ id }) => id === stage.model);
    if (card === undefined || stage.steps < MIN_STEPS || !isSliceOf(card, stage)) return;
    const rows = stage.rows / stage.steps;
    const decodeRows = Math.min(rows, stage.activeSequences);
    const expectedSeconds =
      stage.steps * stepSeconds(card, record.base, stage, decodeRows, rows - decodeRows);
    record.speed.reportsSteps(stage.busySeconds / expectedSeconds, this.#meshSlowness, nowMs);
  }

  /** Between the server and a peer, from a ping of the server's. */
  serverRoundTrip(peer: PeerId, seconds: number, nowMs: number): void {
    this.#pass(nowMs);
    const serverRtt = this.#peers.get(peer)?.serverRtt;
    if (serverRtt === undefined) return;
    if (serverRtt.value === null) this.#hasNewcomers = true;
    serverRtt.add(seconds, nowMs);
  }

  /**
   * A request ended after its first token.
   * @param requester whose word it is: one requester moves what is believed of a peer by a bounded amount.
   * @param predictedSecondsPerToken of the `RouteDecision` it was given.
   */
  outcome(
    requester: PeerId,
    hops: readonly Hop[],
    predictedSecondsPerToken: number,
    { tokens, seconds }: RequestOutcome,
    nowMs: number,
  ): void {
    this.#pass(nowMs);
    if (tokens < MIN_OUTCOME_TOKENS || !(predictedSecondsPerToken > 0)) return;
    const factor = seconds / tokens / predictedSecondsPerToken;
    for (const { peer } of hops) {
      // Nobody vouches for oneself.
      if (peer === requester) continue;
      this.#peers.get(peer)?.speed.requesterSays(requester, { factor, tokens }, this.#meshSlowness, nowMs);
    }
  }

  /** The peer no longer lends its device. All that was measured of it is forgotten. */
  left(peer: PeerId): void {
    this.#peers.delete(peer);
    this.#links.forget(peer);
  }

  /**
   * As the server believes it, for placement and routing: the claim within reason, as fast as it was measured to be.
   * @throws SkeinError `bad-argument` for an unknown peer.
   */
  capability(peer: PeerId): Capability {
    const { claim, base, speed } = this.#record(peer);
    const measured = slowedBy(base, Math.exp(speed.settledSlowness(this.#nowMs)));
    return { ...claim, ...atMost(claim, measured) };
  }

  /** Index into `network().regionRttSeconds`, as of the last call of that; it does not flip on noise. 0 for newcomers. */
  region(peer: PeerId): number {
    return this.#regions.get(peer) ?? 0;
  }

  /**
   * Up to five seconds old, but for newcomers: the same object is given until then, so that what depends on it can be kept
   * too.
   */
  network(nowMs: number): Network {
    this.#pass(nowMs);
    if (this.#hasNewcomers || this.#nowMs - this.#networkFoundMs >= NETWORK_REFRESH_MS) this.#findNetwork();
    return this.#network;
  }

  /**
   * `ServingMember.pace`: what its steps take now over what `capability()` lets expect, and how long they are waited for
   * where it computes nearly all the time; 1 for unknown peers.
   */
  pace(peer: PeerId): number {
    const record = this.#peers.get(peer);
    if (record === undefined) return 1;
    const { base, speed } = record;
    const slowness =
      speed.settledSlowness(this.#nowMs) + speed.passingSlowness(this.#meshSlowness, this.#nowMs);
    // Of what lasts, the capability says all but what a peer is faster than it claims.
    const believed = this.capability(peer).matvecBytesPerSecond / base.matvecBytesPerSecond;
    return Math.exp(slowness) * believed * waitingFactor(this.busyShare(peer, this.#nowMs));
  }

  /** Share of the last half minute or so in which it computed, 0 to 1; 0 for peers that never reported. */
  busyShare(peer: PeerId, nowMs: number): number {
    return this.#peers.get(peer)?.busyShare.faded(0, BUSY_MEMORY_MS, nowMs) ?? 0;
  }

  /** Tokens of cache its stage last said it has in all; null before it did. */
  cacheTokens(peer: PeerId): number | null {
    return this.#peers.get(peer)?.cacheTokens ?? null;
  }

  /** Whom it should measure the round trip to, to be placed in a region: at most `MAX_PROBED_PEERS`, often none. */
  probesFor(peer: PeerId): PeerId[] {
    if (!this.#peers.has(peer)) return [];
    const regions = { peers: [...this.#peers.keys()], region: (other: PeerId) => this.region(other) };
    return probesOf(peer, regions, (other) => {
      const spokenAtMs = this.#links.spokenAtMs(peer, other) ?? -Infinity;
      return this.#nowMs - spokenAtMs < PROBE_FRESH_MS;
    });
  }

  #pass(nowMs: number): void {
    this.#nowMs = Math.max(this.#nowMs, nowMs);
    if (this.#nowMs - this.#refreshedMs < REFRESH_MS) return;
    this.#refreshedMs = this.#nowMs;
    const speeds = [...this.#peers.values()].map(({ speed }) => speed);
    const ownFloor = ofTheMesh(speeds.map(({ ownSlowness }) => ownSlowness));
    for (const speed of speeds) speed.ownFloor = ownFloor;
    this.#meshSlowness = ofTheMesh(speeds.map(({ slowness }) => slowness));
    this.#limitUnchecked();
  }

  #limitUnchecked(): void {
    const records = [...this.#peers.values()];
    const proven = [...this.#peers].flatMap(([peer, { speed }]) =>
      speed.isProven ? [this.capability(peer)] : [],
    );
    const limit = uncheckedLimit(
      proven,
      records.map(({ claim }) => claim),
    );
    for (const record of records) {
      if (!record.speed.isProven) record.base = { ...record.claim, ...atMost(record.claim, limit) };
    }
  }

  #findNetwork(): void {
    this.#networkFoundMs = this.#nowMs;
    this.#hasNewcomers = false;
    const known = this.#links.links(this.#nowMs);
    const serverRttSeconds = new Map<PeerId, number>();
    for (const [peer, { serverRtt }] of this.#peers) {
      if (serverRtt.value !== null) serverRttSeconds.set(peer, serverRtt.value);
    }
    const regions = findRegions({
      peers: [...this.#peers.keys()],
      serverRttSeconds,
      ways: known,
      previous: this.#regions,
    });
    this.#regions = regions.of;
    const links = new Map<PeerId, Map<PeerId, Link>>();
    for (const link of known) {
      const others = links.get(link.a) ?? new Map<PeerId, Link>();
      links.set(link.a, others.set(link.b, this.#aged(link, regions.rttSeconds)));
    }
    this.#network = { regionRttSeconds: regions.rttSeconds, links };
  }

  /** What nobody speaks of any more fades to the figure of its regions. */
  #aged(
    { a, b, atMs, rttSeconds, bytesPerSecond }: KnownLink,
    regionRtts: Network['regionRttSeconds'],
  ): Link {
    const regionSeconds = regionRtts[this.region(a)]?.[this.region(b)] ?? rttSeconds;
    const trust = halvings(this.#nowMs - atMs, LINK_MEMORY_MS);
    return { rttSeconds: regionSeconds + trust * (rttSeconds - regionSeconds), bytesPerSecond };
  }

  #record(peer: PeerId): PeerRecord {
    const record = this.#peers.get(peer);
    if (record !== undefined) return record;
    throw new SkeinError('bad-argument', `Peer ${peer} does not lend its device. Call joined() first.`);
  }
}

/** The median of what is known, where that is of enough peers. */
function ofTheMesh(slownesses: readonly (number | null)[]): number {
  const known = slownesses.filter((slowness) => slowness !== null);
  return known.length < MIN_MESH_PEERS ? 0 : (medianOf(known) ?? 0);
}

/** Nothing for a peer that is busy half of the time, 1.8 at nine tenths, `1 / (1 - MAX_WAITING_SHARE)` at all of it. */
function waitingFactor(busyShare: number): number {
  return 1 / (1 - MAX_WAITING_SHARE * busyShare ** 6);
}

function isSliceOf(card: ModelCard, { layerStart, layerEnd }: StageReport): boolean {
  return layerStart < layerEnd && layerEnd <= card.layerCount;
}
