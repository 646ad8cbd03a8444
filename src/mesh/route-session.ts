import type { BlockHashChain } from '../protocol/block-hashes.ts';
import { SkeinError } from '../protocol/errors.ts';
import { encodeFrame, peekFrameType } from '../protocol/frame-codec.ts';
import type { Frame, StageOffer } from '../protocol/frames.ts';
import type { PeerId } from '../protocol/ids.ts';
import { MAX_SEQUENCE_TOKENS } from '../protocol/limits.ts';
import type { Hop } from '../protocol/route.ts';
import { agreesOnStarts } from '../protocol/stage.ts';
import type { OpenRequest } from '../protocol/stage.ts';
import type { FrameTransport } from '../protocol/transport.ts';
import { systemClock } from './clock.ts';
import type { Clock } from './clock.ts';
import { decodeOnce } from './decode-once.ts';
import { blame, peerError } from './peer-errors.ts';
import { offerProblem, planStarts } from './plan-starts.ts';
import { SilenceWatch } from './silence-watch.ts';
import type { RowsFed } from './find-culprit.ts';

/** A token of the answer, as the last hop sampled it. */
export type RouteToken = Extract<Frame, { type: 'sampled' }>['sequences'][number];

/** What comes of a route. */
export type RouteEvent =
  /** The prompt is sent: so many tokens of it no hop computes again. */
  | { readonly type: 'opened'; readonly cachedTokens: number }
  /** As it came: maybe twice, late, or of an epoch before. */
  | { readonly type: 'token'; readonly token: RouteToken }
  /**
   * The route is of no use any more; nothing follows. `data.peer` names the hop at fault where one is known, `accuser` the hop
   * by whose word it is, null where it was seen from here.
   */
  | { readonly type: 'lost'; readonly error: SkeinError; readonly accuser: PeerId | null };

export interface RouteSessionOptions {
  readonly transport: FrameTransport;
  /** `requester` is the transport's own peer. */
  readonly request: Omit<OpenRequest, 'blockHashes'>;
  /** As many as `request.promptTokens`. */
  readonly promptTokenIds: Uint32Array;
  /**
   * Over the prompt; its owner appends the answer as it comes. By these hashes stages find what they have of the prompt and
   * keep what they computed. Without them they do neither.
   */
  readonly blockHashes?: BlockHashChain;
  readonly onEvent: (event: RouteEvent) => void;
  readonly clock?: Clock;
}

/** A first hop that was left without being told, because the next route may go on with what it has. */
export interface LeftHop {
  readonly hop: Hop;
  /** Ends what it has of the request; the hops behind it that belong to no later route are told by it. */
  close(): void;
}

/**
 * The requester's end of a route: opens it, plans with the hops where each starts, sends the prompt, hands on tokens, and
 * watches for silence. It ends with `close`, which ends the request on every hop, or with `leave`.
 */
export class RouteSession {
  readonly #transport: FrameTransport;
  readonly #request: OpenRequest;
  readonly #promptTokenIds: Uint32Array;
  readonly #blockHashes: BlockHashChain | null;
  readonly #onEvent: (event: RouteEvent) => void;
  readonly #hops: readonly PeerId[];
  readonly #firstHop: PeerId;
  readonly #lastHop: PeerId;
  readonly #watch: SilenceWatch;
  #stopListening: (() => void)[] = [];
  /** Whether the first hop knows of the request and can still be told that it is over. */
  #mustClose = false;
  /** Whether the prompt is sent: all hops know where they start. */
  #hasBegun = false;
  #isOver = false;

  /** @throws SkeinError `bad-argument` for a request that contradicts itself. */
  constructor(options: RouteSessionOptions) {
    checkOptions(options);
    const { transport, promptTokenIds, blockHashes = null, clock = systemClock } = options;
    this.#transport = transport;
    this.#request = { ...options.request, blockHashes: [...(blockHashes?.hashes ?? [])] };
    this.#promptTokenIds = promptTokenIds;
    this.#blockHashes = blockHashes;
    this.#onEvent = options.onEvent;
    this.#hops = this.#request.route.hops.map(({ peer }) => peer);
    this.#firstHop = this.#hops[0] ?? transport.self;
    this.#lastHop = this.#hops.at(-1) ?? transport.self;
    this.#watch = new SilenceWatch({
      clock,
      hops: this.#hops,
      ask: (nonce) => this.#send({ type: 'inquire', ...this.#id, nonce }),
      onHung: (error, accuser) => this.#lose(error, accuser),
    });
  }

  open(): void {
    this.#stopListening = [
      this.#transport.onFrame((from, bytes) => this.#receive(from, bytes)),
      this.#transport.onPeerLost((peer, reason) => this.#loseLink(peer, reason)),
    ];
    this.#mustClose = true;
    void this.#send({ type: 'open', request: this.#request, offers: [] });
    // A prompt of which nothing can be cached waits for nobody.
    if (!agreesOnStarts(this.#request))
      this.#sendPrompt(
        this.#hops.map(() => 0),
        false,
      );
  }

  /** The request is over, on every hop. Idempotent. */
  close(): void {
    this.#leftHop(this.#blockHashes?.hashes ?? [])?.close();
    this.#end();
  }

  /** Another route follows. @returns whom to tell once that is known, null where nobody is there. */
  leave(): LeftHop | null {
    const left = this.#leftHop([...(this.#blockHashes?.hashes ?? [])]);
    this.#end();
    return left;
  }

  get #id() {
    const { requestId, epoch } = this.#request.route;
    return { requestId, epoch };
  }

  /** @param blockHashes of tokens that are certain: this route may have computed others behind them. */
  #leftHop(blockHashes: readonly string[]): LeftHop | null {
    const [hop] = this.#request.route.hops;
    if (!this.#mustClose || hop === undefined) return null;
    this.#mustClose = false;
    const frame: Frame = { type: 'close', ...this.#id, blockHashes, isMoved: false };
    return {
      hop,
      close: () => void this.#transport.send(hop.peer, encodeFrame(frame, 'f32')).catch(() => undefined),
    };
  }

  #end(): void {
    this.#isOver = true;
    this.#watch.stop();
    for (const stop of this.#stopListening) stop();
    this.#stopListening = [];
  }

  /** @param isAgreed whether all hops are known to be there. */
  #sendPrompt(starts: readonly number[], isAgreed: boolean): void {
    const [position = 0] = starts;
    this.#hasBegun = true;
    this.#watch.opened({ upTo: this.#request.promptTokens, by: null }, isAgreed);
    const tokenIds = this.#promptTokenIds.subarray(position);
    this.#onEvent({ type: 'opened', cachedTokens: Math.min(...starts) });
    void this.#send({ type: 'tokens', sequences: [{ ...this.#id, position, tokenIds }] });
  }

  #receive(from: PeerId, bytes: Uint8Array<ArrayBuffer>): void {
    if (this.#isOver || !this.#hops.includes(from)) return;
    const type = peekFrameType(bytes);
    if (type === 'opened' || type === 'sampled' || type === 'state' || type === 'failed') {
      this.#read(from, bytes);
    } else if (type === null && from === this.#lastHop) {
      this.#lose(peerError('bad-frame', from, 'sent something that is no frame. Ask for a new route.'));
    }
  }

  #read(from: PeerId, bytes: Uint8Array<ArrayBuffer>): void {
    let frame: Frame;
    try {
      frame = decodeOnce(bytes);
    } catch (thrown) {
      this.#transport.reject(from, SkeinError.from(thrown));
      this.#lose(blame(from, thrown));
      return;
    }
    const { requestId, epoch } = this.#id;
    if (frame.type === 'sampled') {
      if (from !== this.#lastHop) return;
      for (const token of frame.sequences) if (token.requestId === requestId) this.#hearToken(token);
      return;
    }
    if (!('requestId' in frame) || frame.requestId !== requestId || frame.epoch !== epoch) return;
    if (frame.type === 'opened') this.#agree(from, frame.offers);
    else if (frame.type === 'state' && from === this.#firstHop)
      this.#watch.answer(frame.hop, frame.nonce, frame);
    else if (frame.type === 'failed') this.#fail(from, SkeinError.fromShape(frame.error));
  }

  #hearToken(token: RouteToken): void {
    if (this.#isOver) return;
    if (token.epoch === this.#id.epoch) this.#watch.token(this.#fedAfter(token.position));
    this.#onEvent({ type: 'token', token });
  }

  /** The last hop feeds the token that it sampled to the first. */
  #fedAfter(position: number): RowsFed {
    const end = this.#request.promptTokens + this.#request.maxTokens;
    // The last token of an answer is fed to nobody.
    return { upTo: Math.min(position + 1, end - 1), by: this.#lastHop };
  }

  /** The last hop tells what all have; the first may say before that nothing is there. Whoever is second is not needed. */
  #agree(from: PeerId, offers: readonly StageOffer[]): void {
    if (this.#hasBegun || this.#isOver) return;
    const { route, promptTokens } = this.#request;
    const isFromLast = from === this.#lastHop && offers.length === route.hops.length;
    if (!isFromLast && !(from === this.#firstHop && saysNothing(offers) && route.epoch === 0)) {
      if (from === this.#firstHop || from === this.#lastHop) {
        this.#lose(
          peerError(
            'bad-frame',
            from,
            `says what ${offers.length} hops have, where ${route.hops.length} are.`,
          ),
        );
      }
      return;
    }
    const problem = offers.map((offer) => offerProblem(offer, promptTokens)).find((words) => words !== null);
    if (problem !== undefined) {
      // Every hop checks what those before it offer.
      this.#lose(peerError('bad-frame', from, `offers ${problem}. Ask for a new route.`));
      return;
    }
    const starts = isFromLast ? planStarts(offers, promptTokens) : route.hops.map(() => 0);
    void this.#send({ type: 'begin', ...this.#id, starts });
    this.#sendPrompt(starts, isFromLast);
  }

  /** What a hop says of itself, or of another hop. */
  #fail(from: PeerId, error: SkeinError): void {
    const named = this.#hops.find((hop) => hop === error.data['peer']) ?? from;
    // Only what is seen from here names two.
    const data = Object.fromEntries(Object.entries(error.data).filter(([key]) => key !== 'otherPeer'));
    const told = new SkeinError(error.code, error.message, { data: { ...data, peer: named }, cause: error });
    this.#lose(told, named === from ? null : from);
  }

  #loseLink(peer: PeerId, reason: SkeinError): void {
    if (peer === this.#firstHop) this.#mustClose = false;
    if (peer === this.#firstHop || peer === this.#lastHop) this.#lose(linkError(peer, reason));
  }

  #lose(error: SkeinError, accuser: PeerId | null = null): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#watch.stop();
    this.#onEvent({ type: 'lost', error, accuser });
  }

  async #send(frame: Frame): Promise<void> {
    let bytes: Uint8Array<ArrayBuffer>;
    try {
      bytes = encodeFrame(frame, 'f32');
    } catch (thrown) {
      this.#lose(SkeinError.from(thrown));
      return;
    }
    try {
      await this.#transport.send(this.#firstHop, bytes);
    } catch (thrown) {
      this.#mustClose = false;
      this.#lose(linkError(this.#firstHop, thrown));
    }
  }
}

/** Whatever keeps frames from a peer, it is of no use to this route: only how it was lost makes a difference. */
function linkError(peer: PeerId, thrown: unknown): SkeinError {
  const { code, message, data } = SkeinError.from(thrown);
  const kind = code === 'bad-frame' || code === 'timeout' ? code : 'peer-lost';
  return new SkeinError(kind, message, { data: { ...data, peer }, cause: thrown });
}

/** The first hop alone has nothing, so none is of use. */
function saysNothing(offers: readonly StageOffer[]): boolean {
  const [offer] = offers;
  return offers.length === 1 && offer?.cachedTokens === 0;
}
function checkOptions({ transport, request, promptTokenIds, blockHashes }: RouteSessionOptions): void {
  if (request.requester !== transport.self) {
    throw new SkeinError(
      'bad-argument',
      `The request names ${request.requester} as requester and this is ${transport.self}: tokens would go elsewhere.`,
    );
  }
  if (promptTokenIds.length !== request.promptTokens) {
    throw new SkeinError(
      'bad-argument',
      `The request announces ${request.promptTokens} prompt tokens and ${promptTokenIds.length} are given.`,
    );
  }
  if (blockHashes && blockHashes.tokenCount !== promptTokenIds.length) {
    throw new SkeinError(
      'bad-argument',
      `The hash chain has ${blockHashes.tokenCount} tokens and the prompt ${promptTokenIds.length}: they are not of one sequence.`,
    );
  }
  if (request.promptTokens + request.maxTokens > MAX_SEQUENCE_TOKENS) {
    throw new SkeinError(
      'bad-argument',
      `A prompt of ${request.promptTokens} and an answer of ${request.maxTokens} tokens are over ${MAX_SEQUENCE_TOKENS}.`,
    );
  }
}
