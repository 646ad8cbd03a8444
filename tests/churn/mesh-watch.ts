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

/** The server hears of a leave within this time: later gaps are its own doing. */
const LEAVE_EFFECT_MS = 5_000;

interface Member {
  readonly slice: string;
  readonly loadingSinceMs: number | null;
}

/** Follows what the server says of the mesh: who loads and for how long, and for how long layers are missing after a leave. */
export class MeshWatch {
  readonly loads: LoadTime[] = [];
  /** From a leave until every layer was served again, for leaves that left some without a peer. */
  readonly recoveriesMs: number[] = [];
  readonly #model: ModelId;
  readonly #layerCount: number;
  readonly #nowMs: () => number;
  readonly #hasServed = new Set<PeerId>();
  #members = new Map<PeerId, Member>();
  #serving: readonly MeshMember[] = [];
  #isCovered = false;
  /** When the last leave was that may be why layers are missing. */
  #leftAtMs: number | null = null;
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
  leaving(): void {
    this.#leftAtMs = this.#nowMs();
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
    this.#hearCoverage(covered.includes(this.#model), nowMs);
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

  #hearCoverage(isWhole: boolean, nowMs: number): void {
    if (this.#isCovered && !isWhole) {
      const leftAtMs = this.#leftAtMs ?? -Infinity;
      const isExplained = nowMs - leftAtMs <= LEAVE_EFFECT_MS;
      if (!isExplained) this.#unexplained += 1;
      this.#brokenSinceMs = isExplained ? leftAtMs : nowMs;
    }
    if (!this.#isCovered && isWhole && this.#brokenSinceMs !== null) {
      this.recoveriesMs.push(nowMs - this.#brokenSinceMs);
      this.#brokenSinceMs = null;
    }
    this.#isCovered = isWhole;
  }
}
