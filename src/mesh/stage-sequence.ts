import type { PeerId, RequestId } from '../protocol/ids.ts';
import { BLOCK_TOKENS } from '../protocol/stage.ts';
import type { OpenRequest, StageInput } from '../protocol/stage.ts';
import { peerError } from './peer-errors.ts';
import { upstreamOf } from './stage-admission.ts';

/** Rows that a stage may feed to its executor. */
export interface StageRows {
  readonly position: number;
  readonly input: StageInput;
}

/** One request at one hop: who its neighbours are, who may send what, and which position is next. */
export class StageSequence {
  readonly requestId: RequestId;
  readonly epoch: number;
  readonly upstream: PeerId;
  /** Null at the last hop. */
  readonly downstream: PeerId | null;
  /** Where the ring begins. */
  readonly firstHop: PeerId;
  /** Who sends the ring's tokens to the first hop. */
  readonly lastHop: PeerId;
  readonly isFirst: boolean;
  /** Null until the first rows say where they begin. */
  #nextPosition: number | null = null;

  /** @param cachedTokens of the prompt that are in the caches of this hop and of those before it. */
  constructor(
    readonly request: OpenRequest,
    hopIndex: number,
    readonly cachedTokens: number,
  ) {
    const { hops, requestId, epoch } = request.route;
    this.requestId = requestId;
    this.epoch = epoch;
    this.upstream = upstreamOf(request, hopIndex);
    this.downstream = hops[hopIndex + 1]?.peer ?? null;
    this.firstHop = upstreamOf(request, 1);
    this.lastHop = upstreamOf(request, hops.length);
    this.isFirst = hopIndex === 0;
  }

  /** Whether rows of this sequence come from that peer. */
  isFedBy(peer: PeerId): boolean {
    return peer === this.upstream || (this.isFirst && peer === this.lastHop);
  }

  /** Whether it cannot go on without that peer. */
  needs(peer: PeerId): boolean {
    const closesTheRing = this.downstream === null && peer === this.firstHop;
    return this.isFedBy(peer) || peer === this.downstream || closesTheRing;
  }

  /**
   * The prompt from the requester, from a cached position to its end, and then one token at a time from the last hop.
   * @returns null for a sender with no part in it, or for another hop on this peer.
   * @throws SkeinError `bad-frame` when the right peer sends the wrong thing.
   */
  takeTokens(from: PeerId, position: number, tokenIds: Uint32Array): StageRows | null {
    if (!this.isFirst || !this.isFedBy(from)) return null;
    const isPrompt = this.#nextPosition === null;
    const sender = isPrompt ? this.upstream : this.lastHop;
    const rows = isPrompt ? this.request.promptTokens - position : 1;
    if (from !== sender || tokenIds.length !== rows) {
      throw peerError(
        'bad-frame',
        from,
        `sent ${tokenIds.length} tokens of request ${this.requestId} where ${rows} from ${sender} come next.`,
      );
    }
    this.#advance(from, position, rows);
    return { position, input: { kind: 'tokens', tokenIds } };
  }

  /** @see takeTokens. Activations come from the hop before this one. */
  takeActivations(from: PeerId, position: number, rows: number, values: Float32Array): StageRows | null {
    if (this.isFirst || from !== this.upstream) return null;
    this.#advance(from, position, rows);
    return { position, input: { kind: 'activations', rows, values } };
  }

  /** Whether the ring ends with the token at `position`. */
  endsWith(tokenId: number, position: number): boolean {
    const { promptTokens, maxTokens, stopTokenIds } = this.request;
    return position + 1 >= promptTokens + maxTokens || stopTokenIds.includes(tokenId);
  }

  #advance(from: PeerId, position: number, rows: number): void {
    // The last token of an answer is sampled and never fed.
    const end = this.request.promptTokens + this.request.maxTokens - 1;
    if (!this.#mayFollow(position) || position + rows > end) {
      const next = this.#nextPosition ?? `a whole block up to ${this.cachedTokens}`;
      throw peerError(
        'bad-frame',
        from,
        `sent ${rows} rows of request ${this.requestId} at position ${position}, where ${next} is next and ${end} the end.`,
      );
    }
    this.#nextPosition = position + rows;
  }

  #mayFollow(position: number): boolean {
    if (this.#nextPosition !== null) return position === this.#nextPosition;
    return position <= this.cachedTokens && position % BLOCK_TOKENS === 0;
  }
}
