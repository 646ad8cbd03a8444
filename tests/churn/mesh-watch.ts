import { isCovered } from '../../signaling/coverage.ts';
import type { ModelId, PeerId } from '../../src/protocol/ids.ts';
import type { MeshMember } from '../../src/protocol/signaling.ts';

/** How a peer came to serve a slice. */
export interface LoadTime {
  readonly peer: PeerId;
  /** Whether it had served before, so that its device and its kernels were ready. */
  readonly isFirst: boolean;
  readonly ms: number;
}

/** Somebody who was made to leave, and is the reason for no gap yet. */
interface Leave {
  readonly atMs: number;
  /** Whether the server lists the peer no more; it may list it again since. */
  readonly isHeard: boolean;
}

interface Member {
  readonly slice: string;
  readonly loadingSinceMs: number | null;
}

/** Follows what the server says of the mesh: who loads and for how long, and for how long layers are missing after a leave. */
export class MeshWatch {
  readonly loads: LoadTime[] = [];
  /** From a leave until every layer was served again, for leaves that left some without a peer; Infinity for never. */
  readonly recoveriesMs: number[] = [];
  readonly #model: ModelId;
  readonly #layerCount: number;
  readonly #nowMs: () => number;
  readonly #hasServed = new Set<PeerId>();
  #members = new Map<PeerId, Member>();
  #serving: readonly MeshMember[] = [];
  #isCovered = false;
  readonly #leaves = new Map<PeerId, Leave>();
  #brokenSinceMs: number | null = null;
  #unexplained = 0;

  constructor(model: ModelId, layerCount: number, nowMs: () => number) {
    this.#model = model;
    this.#layerCount = layerCount;
    this.#nowMs = nowMs;
  }

  get isCovered(): boolean {
    return this.#isCovered;
  }

  get servingPeers(): number {
    return this.#serving.length;
  }

  /** Who holds what, for people. */
  get words(): string {
    const words = Array.from(this.#members, ([peer, { slice, loadingSinceMs }]) => {
      const state = loadingSinceMs === null ? 'serves' : 'loads';
      return `${peer.slice(0, 6)} ${state} ${slice}`;
    });
    return words.length === 0 ? 'nobody holds anything' : words.join(', ');
  }

  serves(peer: PeerId): boolean {
    return this.#serving.some((member) => member.peer === peer);
  }

  /** Times that layers went missing without a leave before: moves that the server made in the wrong order. */
  get unexplainedGaps(): number {
    return this.#unexplained;
  }

  /** Peers without which layers would be missing. */
  get irreplaceable(): PeerId[] {
    return this.#serving
      .filter(({ peer }) => {
        const others = this.#serving.filter((member) => member.peer !== peer);
        return !isCovered(this.#layerCount, others);
      })
      .map(({ peer }) => peer);
  }

  /** To be called right before somebody is made to leave. */
  leaving(peer: PeerId): void {
    this.#leaves.set(peer, { atMs: this.#nowMs(), isHeard: false });
  }

  /** To be called when nothing more will be heard: layers that are missing now are missing for ever. */
  end(): void {
    if (this.#brokenSinceMs !== null) this.recoveriesMs.push(Infinity);
    this.#brokenSinceMs = null;
  }

  hear({
    members,
    covered,
  }: {
    readonly members: readonly MeshMember[];
    readonly covered: readonly ModelId[];
  }): void {
    const nowMs = this.#nowMs();
    const ofModel = members.filter(({ model }) => model === this.#model);
    this.#serving = ofModel.filter(({ state }) => state === 'serving');
    this.#hearLoads(ofModel, nowMs);
    const justLeft = this.#hearLeaves();
    this.#hearCoverage(covered.includes(this.#model), justLeft, nowMs);
  }

  #hearLoads(members: readonly MeshMember[], nowMs: number): void {
    const after = new Map<PeerId, Member>();
    for (const { peer, layerStart, layerEnd, state } of members) {
      const slice = `${layerStart}-${layerEnd}`;
      const before = this.#members.get(peer);
      const known = before?.slice === slice ? before.loadingSinceMs : null;
      after.set(peer, { slice, loadingSinceMs: state === 'loading' ? (known ?? nowMs) : null });
      if (state !== 'serving') continue;
      if (known !== null) this.loads.push({ peer, isFirst: !this.#hasServed.has(peer), ms: nowMs - known });
      this.#hasServed.add(peer);
    }
    this.#members = after;
  }

  /** @returns those who were made to leave and are listed no more, for the first time. */
  #hearLeaves(): PeerId[] {
    const justLeft = [...this.#leaves].filter(([peer, { isHeard }]) => !isHeard && !this.#members.has(peer));
    for (const [peer, { atMs }] of justLeft) this.#leaves.set(peer, { atMs, isHeard: true });
    return justLeft.map(([peer]) => peer);
  }

  #hearCoverage(isWhole: boolean, justLeft: readonly PeerId[], nowMs: number): void {
    if (this.#isCovered && !isWhole)
      this.#brokenSinceMs = this.#reasonAtMs(justLeft) ?? this.#blameNobody(nowMs);
    if (!this.#isCovered && isWhole && this.#brokenSinceMs !== null) {
      this.recoveriesMs.push(nowMs - this.#brokenSinceMs);
      this.#brokenSinceMs = null;
    }
    this.#isCovered = isWhole;
  }

  /**
   * When the leave was that a gap belongs to, which is the reason for no other: the first of those that the server heard of
   * just now, or else the last that it heard of, however long ago; null when there is none.
   */
  #reasonAtMs(justLeft: readonly PeerId[]): number | null {
    const heard = [...this.#leaves].filter(([, { isHeard }]) => isHeard);
    for (const [peer] of heard) this.#leaves.delete(peer);
    const now = heard.filter(([peer]) => justLeft.includes(peer)).map(([, { atMs }]) => atMs);
    if (now.length > 0) return Math.min(...now);
    return heard.length === 0 ? null : Math.max(...heard.map(([, { atMs }]) => atMs));
  }

  #blameNobody(nowMs: number): number {
    this.#unexplained += 1;
    return nowMs;
  }
}
