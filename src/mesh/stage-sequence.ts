import type { PeerId, RequestId } from '../protocol/ids.ts';
import { SkeinError } from '../protocol/errors.ts';
import type { StageOffer } from '../protocol/frames.ts';
import { agreesOnStarts } from '../protocol/stage.ts';
import type { OpenRequest, StageInput } from '../protocol/stage.ts';
import { peerError } from './peer-errors.ts';
import { upstreamOf } from './stage-admission.ts';

/** Rows that a stage may feed to its executor. */
export interface StageRows {
  readonly position: number;
  readonly input: StageInput;
}

/** What came of a frame's rows: they came before, or from somebody who does not feed this hop of the request. */
export type TakenRows = StageRows | 'known' | 'of a stranger';

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
  /** Of every hop; null until the requester says. */
  #starts: readonly number[] | null;
  /** Null until the first rows came. */
  #nextPosition: number | null = null;

  /** @param offer what this hop has of it. */
  constructor(
    readonly request: OpenRequest,
    readonly hopIndex: number,
    readonly offer: StageOffer,
  ) {
    const { hops, requestId, epoch } = request.route;
    this.requestId = requestId;
    this.epoch = epoch;
    this.upstream = upstreamOf(request, hopIndex);
    this.downstream = hops[hopIndex + 1]?.peer ?? null;
    this.firstHop = upstreamOf(request, 1);
    this.lastHop = upstreamOf(request, hops.length);
    this.isFirst = hopIndex === 0;
    this.#starts = agreesOnStarts(request) ? null : hops.map(() => 0);
  }

  /** Where each hop starts; null until the requester says. */
  get starts(): readonly number[] | null {
    return this.#starts;
  }

  /**
   * The requester says where each hop starts.
   * @returns false when it has said so before.
   * @throws SkeinError `bad-frame` for starts that this hop did not offer.
   */
  begin(starts: readonly number[]): boolean {
    if (this.#starts !== null) return false;
    const { cachedTokens, journalFrom } = this.offer;
    const own = starts[this.hopIndex] ?? Infinity;
    const next = starts[this.hopIndex + 1] ?? own;
    const canSendAgain = next >= own || next >= journalFrom;
    if (starts.length !== this.request.route.hops.length || own > cachedTokens || !canSendAgain) {
      throw new SkeinError(
        'bad-frame',
        `Request ${this.requestId} is to start at ${own} and ${next}, of ${starts.length} starts, where hop ${this.hopIndex} has ${cachedTokens} rows and can send again from ${journalFrom}. Ask for a new route.`,
        { data: { hop: this.hopIndex, cachedTokens, journalFrom } },
      );
    }
    this.#starts = starts;
    return true;
  }

  /** Whether any row came. */
  get isFed(): boolean {
    return this.#nextPosition !== null;
  }

  /** Position after the last row that came, or before which none will come. */
  get receivedUpTo(): number {
    return this.#nextPosition ?? this.#start ?? 0;
  }

  /** The next hop lacks no row before this position. */
  get nextStart(): number {
    return this.#starts?.[this.hopIndex + 1] ?? 0;
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
   * The prompt from the requester, from where this hop starts to its end, and then one token at a time from the last hop.
   * @throws SkeinError `bad-frame` when the right peer sends the wrong thing.
   */
  takeTokens(from: PeerId, position: number, tokenIds: Uint32Array): TakenRows {
    if (!this.isFirst || !this.isFedBy(from)) return 'of a stranger';
    if (this.#isKnown(position, tokenIds.length)) return 'known';
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
  takeActivations(from: PeerId, position: number, rows: number, values: Float32Array): TakenRows {
    if (this.isFirst || from !== this.upstream) return 'of a stranger';
    if (this.#isKnown(position, rows)) return 'known';
    this.#advance(from, position, rows);
    return { position, input: { kind: 'activations', rows, values } };
  }

  /** Whether the ring ends with the token at `position`. */
  endsWith(tokenId: number, position: number): boolean {
    const { promptTokens, maxTokens, stopTokenIds } = this.request;
    return position + 1 >= promptTokens + maxTokens || stopTokenIds.includes(tokenId);
  }

  #isKnown(position: number, rows: number): boolean {
    return this.#nextPosition !== null && position + rows <= this.#nextPosition;
  }

  #advance(from: PeerId, position: number, rows: number): void {
    // The last token of an answer is sampled and never fed.
    const end = this.request.promptTokens + this.request.maxTokens - 1;
    if (position !== (this.#nextPosition ?? this.#start) || position + rows > end) {
      const next = this.#nextPosition ?? this.#start ?? 'begin';
      throw peerError(
        'bad-frame',
        from,
        `sent ${rows} rows of request ${this.requestId} at position ${position}, where ${next} is next and ${end} the end.`,
      );
    }
    this.#nextPosition = position + rows;
  }

  get #start(): number | null {
    return this.#starts?.[this.hopIndex] ?? null;
  }
}
