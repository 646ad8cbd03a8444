import type { BlockHashChain } from '../protocol/block-hashes.ts';
import { SkeinError } from '../protocol/errors.ts';
import { decodeFrame, encodeFrame, peekFrameType } from '../protocol/frame-codec.ts';
import type { Frame, StageOffer } from '../protocol/frames.ts';
import type { PeerId } from '../protocol/ids.ts';
import { MAX_SEQUENCE_TOKENS, STEP_TIMEOUT_MS } from '../protocol/limits.ts';
import { agreesOnStarts, cacheableTokens } from '../protocol/stage.ts';
import type { OpenRequest } from '../protocol/stage.ts';
import type { FrameTransport } from '../protocol/transport.ts';
import { systemClock } from './clock.ts';
import type { Clock } from './clock.ts';
import { IdleTimer } from './idle-timer.ts';
import { blame, peerError, peerLost } from './peer-errors.ts';
import { TokenInbox } from './token-inbox.ts';
import type { RouteToken } from './token-inbox.ts';

export interface RouteSessionOptions {
  readonly transport: FrameTransport;
  /** `requester` is the transport's own peer. */
  readonly request: Omit<OpenRequest, 'blockHashes' | 'keepsCache'> & { readonly keepsCache?: boolean };
  /** As many as `request.promptTokens`. */
  readonly promptTokenIds: Uint32Array;
  /**
   * Over the prompt; tokens of the answer are appended as they come. By these hashes stages find what they have of the
   * prompt and keep what they computed. Without them they do neither.
   */
  readonly blockHashes?: BlockHashChain;
  /** Called once, when the prompt is sent: so many tokens of it are in the caches of all stages and stay at home. */
  readonly onOpened?: (cachedTokens: number) => void;
  readonly signal: AbortSignal;
  readonly clock?: Clock;
}

/**
 * The requester's end of a route: opens it, sends the prompt and yields every token in order, up to a stop token or
 * `maxTokens`. Nothing is sent before the first token is asked for; leaving early, for any reason, closes the route.
 * @throws SkeinError what a stage reported as `failed`; `peer-lost` when the first or last hop goes; `timeout` after
 * STEP_TIMEOUT_MS of silence, or once the request's time limit is over; `bad-frame` for a gap; `aborted`. `data.peer` names the hop at fault where one is known.
 */
export async function* startRoute(options: RouteSessionOptions): AsyncGenerator<RouteToken, void, void> {
  const { signal } = options;
  checkOptions(options);
  const session = new RouteSession(options);
  const abort = () => session.abort();
  signal.addEventListener('abort', abort);
  try {
    if (signal.aborted) abort();
    else session.open();
    yield* session.inbox.drain();
  } finally {
    signal.removeEventListener('abort', abort);
    session.close();
  }
}

class RouteSession {
  readonly inbox: TokenInbox;
  readonly #transport: FrameTransport;
  readonly #request: OpenRequest;
  readonly #promptTokenIds: Uint32Array;
  readonly #blockHashes: BlockHashChain | null;
  readonly #onOpened: (cachedTokens: number) => void;
  readonly #hops: ReadonlySet<PeerId>;
  readonly #firstHop: PeerId;
  readonly #lastHop: PeerId;
  readonly #silence: IdleTimer;
  readonly #cancelDeadline: () => void;
  readonly #stopListening: (() => void)[];
  /** Whether the first hop knows of the request and can still be told that it is over. */
  #mustClose = false;
  /** Whether the prompt waits until the stages agreed on what they have of it. */
  #isOpening = false;

  constructor(options: RouteSessionOptions) {
    const { transport, promptTokenIds, blockHashes = null, clock = systemClock } = options;
    const request = { keepsCache: true, ...options.request, blockHashes: [...(blockHashes?.hashes ?? [])] };
    this.#transport = transport;
    this.#request = request;
    this.#promptTokenIds = promptTokenIds;
    this.#blockHashes = blockHashes;
    this.#onOpened = options.onOpened ?? (() => undefined);
    const peers = request.route.hops.map(({ peer }) => peer);
    this.#hops = new Set(peers);
    this.#firstHop = peers[0] ?? transport.self;
    this.#lastHop = peers.at(-1) ?? transport.self;
    this.inbox = new TokenInbox(request);
    this.#silence = new IdleTimer(clock, STEP_TIMEOUT_MS, () => this.inbox.fail(silenceError(request)));
    this.#cancelDeadline = clock.after(request.timeLimitMs, () => this.inbox.fail(deadlineError(request)));
    this.#stopListening = [
      transport.onFrame((from, bytes) => this.#receive(from, bytes)),
      transport.onPeerLost((peer) => this.#lose(peer)),
    ];
  }

  open(): void {
    this.#mustClose = true;
    void this.#send({ type: 'open', request: this.#request, offers: [] });
    // A prompt of which nothing can be cached waits for nobody.
    if (agreesOnStarts(this.#request)) this.#isOpening = true;
    else this.#sendPrompt(0);
  }

  abort(): void {
    this.inbox.abort(new SkeinError('aborted', 'The generation was stopped.'));
  }

  close(): void {
    this.#stopTimers();
    for (const stop of this.#stopListening) stop();
    const { requestId, epoch } = this.#request.route;
    const blockHashes = this.#blockHashes?.hashes ?? [];
    if (this.#mustClose) void this.#send({ type: 'close', requestId, epoch, blockHashes, isMoved: false });
  }

  #sendPrompt(position: number): void {
    const { requestId, epoch } = this.#request.route;
    const tokenIds = this.#promptTokenIds.subarray(position);
    this.#isOpening = false;
    this.#onOpened(position);
    void this.#send({ type: 'tokens', sequences: [{ requestId, epoch, position, tokenIds }] });
  }

  #stopTimers(): void {
    this.#silence.stop();
    this.#cancelDeadline();
  }

  #receive(from: PeerId, bytes: Uint8Array): void {
    if (!this.#hops.has(from)) return;
    const type = peekFrameType(bytes);
    if (type === 'opened' || type === 'sampled' || type === 'failed') this.#read(from, bytes);
    else if (type === null && from === this.#lastHop) {
      this.inbox.fail(peerError('bad-frame', from, 'sent something that is no frame. Ask for a new route.'));
    }
  }

  #read(from: PeerId, bytes: Uint8Array): void {
    let frame: Frame;
    try {
      frame = decodeOnce(bytes);
    } catch (thrown) {
      this.inbox.fail(blame(from, thrown));
      return;
    }
    const isMine = (part: { requestId: string; epoch: number }) =>
      part.requestId === this.#request.route.requestId && part.epoch === this.#request.route.epoch;
    if (frame.type === 'failed' && isMine(frame)) {
      this.inbox.fail(blame(from, SkeinError.fromShape(frame.error)));
    } else if (frame.type === 'sampled' && from === this.#lastHop) {
      for (const sampled of frame.sequences.filter(isMine)) {
        this.#silence.touch();
        if (this.inbox.push(sampled)) this.#blockHashes?.append([sampled.tokenId]);
      }
    } else if (frame.type === 'opened' && isMine(frame)) {
      this.#agree(from, frame.offers);
    }
    if (this.inbox.isOver) this.#stopTimers();
  }

  /** The last hop knows what all have; the first hop knows already when that is nothing. Whoever is second is not needed. */
  #agree(from: PeerId, offers: readonly StageOffer[]): void {
    const { requestId, epoch, hops } = this.#request.route;
    const isEarly = from === this.#firstHop && offers.length === 1 && offers[0]?.cachedTokens === 0;
    const mayKnow = (from === this.#lastHop && offers.length === hops.length) || isEarly;
    if (!this.#isOpening || this.inbox.isOver || !mayKnow) return;
    const cachedTokens = Math.min(...offers.map((offer) => offer.cachedTokens));
    if (cachedTokens > cacheableTokens(this.#request)) {
      this.inbox.fail(
        peerError('bad-frame', from, `says that ${cachedTokens} tokens are cached, which nobody asked for.`),
      );
      return;
    }
    this.#silence.touch();
    void this.#send({ type: 'begin', requestId, epoch, starts: hops.map(() => cachedTokens) });
    this.#sendPrompt(cachedTokens);
  }

  #lose(peer: PeerId): void {
    if (peer === this.#firstHop) this.#mustClose = false;
    if (peer === this.#firstHop || peer === this.#lastHop) this.inbox.fail(peerLost(peer));
  }

  async #send(frame: Frame): Promise<void> {
    try {
      await this.#transport.send(this.#firstHop, encodeFrame(frame, 'f32'));
    } catch (thrown) {
      this.#mustClose = false;
      this.inbox.fail(blame(this.#firstHop, thrown));
    }
  }
}

/**
 * A step's tokens come in one frame, which every session of the requester sees.
 * @param bytes not written to after they came.
 */
function decodeOnce(bytes: Uint8Array): Frame {
  const known = decodedFrames.get(bytes);
  if (known !== undefined) return known;
  const frame = decodeFrame(bytes);
  decodedFrames.set(bytes, frame);
  return frame;
}

const decodedFrames = new WeakMap<Uint8Array, Frame>();

function silenceError({ route }: OpenRequest): SkeinError {
  return new SkeinError(
    'timeout',
    `Nothing came over the route of request ${route.requestId} for ${STEP_TIMEOUT_MS / 1000} s. Ask for a new route.`,
  );
}

function deadlineError({ route, timeLimitMs }: OpenRequest): SkeinError {
  return new SkeinError(
    'timeout',
    `Request ${route.requestId} was not complete after ${timeLimitMs / 1000} s. Ask for fewer tokens, or allow more time.`,
    { data: { timeLimitMs } },
  );
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
