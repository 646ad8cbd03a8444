import { SkeinError } from '../src/protocol/errors.ts';
import type { PeerId } from '../src/protocol/ids.ts';
import type { Hop } from '../src/protocol/route.ts';
import type { Capability, LinkReport, ModelCard, StageReport } from '../src/protocol/signaling.ts';
import { ONE_REGION } from './scheduler/network.ts';
import type { Network } from './scheduler/types.ts';

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
  busyShare: number;
  cacheTokens: number | null;
}

/**
 * What the server believes of peers and of the ways between them: their own words, smoothed and aged, and held against
 * the words of others. Does no I/O and has no clock: every time is told, in milliseconds of a clock that never goes
 * back. Peers that never joined, or left, are unknown: what is said of them is ignored.
 */
export class Measurements {
  readonly #peers = new Map<PeerId, PeerRecord>();

  /** @param models whose slices peers may report steps of. */
  constructor(readonly models: readonly ModelCard[]) {}

  /** A peer lends its device, or tells a new capability; what was measured of it stays. */
  joined(peer: PeerId, capability: Capability, _nowMs: number): void {
    const known = this.#peers.get(peer);
    if (known === undefined) this.#peers.set(peer, { claim: capability, busyShare: 0, cacheTokens: null });
    else known.claim = capability;
  }

  reported(peer: PeerId, { stage }: PeerReport, _nowMs: number): void {
    const record = this.#peers.get(peer);
    if (record === undefined || stage === null) return;
    record.busyShare = Math.min(1, stage.busySeconds / stage.seconds);
    record.cacheTokens = stage.cacheTokens;
  }

  /** Between the server and a peer, from a ping of the server's. */
  serverRoundTrip(_peer: PeerId, _seconds: number, _nowMs: number): void {
    // Regions are still one.
  }

  /**
   * A request ended after its first token.
   * @param requester whose word it is: one requester moves what is believed of a peer by a bounded amount.
   * @param predictedSecondsPerToken of the `RouteDecision` it was given.
   */
  outcome(
    _requester: PeerId,
    _hops: readonly Hop[],
    _predictedSecondsPerToken: number,
    _outcome: RequestOutcome,
    _nowMs: number,
  ): void {
    // Paces are still one.
  }

  /** The peer no longer lends its device. All that was measured of it is forgotten. */
  left(peer: PeerId): void {
    this.#peers.delete(peer);
  }

  /** As the server believes it, for placement and routing. @throws SkeinError `bad-argument` for an unknown peer. */
  capability(peer: PeerId): Capability {
    return this.#record(peer).claim;
  }

  /** Index into `network().regionRttSeconds`; it does not flip on noise. 0 for unknown peers. */
  region(_peer: PeerId): number {
    return 0;
  }

  /** Up to a second old: the same object is given until then, so that what depends on it can be kept too. */
  network(_nowMs: number): Network {
    return ONE_REGION;
  }

  /** `ServingMember.pace`: what its steps take now over what `capability()` lets expect; 1 for unknown peers. */
  pace(_peer: PeerId): number {
    return 1;
  }

  /** Share of the last half minute or so in which it computed, 0 to 1; 0 for peers that never reported. */
  busyShare(peer: PeerId, _nowMs: number): number {
    return this.#peers.get(peer)?.busyShare ?? 0;
  }

  /** Tokens of cache its stage last said it has in all; null before it did. */
  cacheTokens(peer: PeerId): number | null {
    return this.#peers.get(peer)?.cacheTokens ?? null;
  }

  /** Whom it should measure the round trip to, to be placed in a region: at most `MAX_PROBED_PEERS`, often none. */
  probesFor(_peer: PeerId): PeerId[] {
    return [];
  }

  #record(peer: PeerId): PeerRecord {
    const record = this.#peers.get(peer);
    if (record !== undefined) return record;
    throw new SkeinError('bad-argument', `Peer ${peer} does not lend its device. Call joined() first.`);
  }
}
