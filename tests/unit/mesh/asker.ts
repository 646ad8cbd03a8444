import { cacheScope } from '../../../src/mesh/cache-scope.ts';
import { decodeFrame, encodeFrame } from '../../../src/protocol/frame-codec.ts';
import type { Frame, StageOffer } from '../../../src/protocol/frames.ts';
import type { PeerId, RequestId } from '../../../src/protocol/ids.ts';
import type { Hop } from '../../../src/protocol/route.ts';
import { GREEDY, NO_HISTORY } from '../../../src/protocol/sampling.ts';
import { agreesOnStarts, BLOCK_TOKENS } from '../../../src/protocol/stage.ts';
import type { OpenRequest } from '../../../src/protocol/stage.ts';
import type { FrameTransport } from '../../../src/protocol/transport.ts';
import { chainOf, MODEL, requestId, settled } from './local-mesh.ts';
import type { Machine, ReplicaMesh } from './replica-mesh.ts';
import { EPOCH_KEYS } from '../../fixtures/epoch-keys.ts';

/** One request of the simplest requester that survives: a log of tokens, and another route whenever a hop is gone. */
export class Asker {
  readonly tokens: number[] = [];
  /** What the hops offered at each epoch that came to that. */
  readonly offers: (readonly StageOffer[])[] = [];
  readonly starts: (readonly number[])[] = [];
  /** Under what hops may keep blocks that others find: by the ways of all routes taken. */
  readonly scopes = new Set<string>();
  /** Codes of the failures heard, in order. */
  readonly failures: string[] = [];
  /** Whether hops may go on with what they have of the route before. */
  keepsCache = true;
  /** Tokens that came over routes before the last. */
  spoilt = 0;
  readonly #id: RequestId;
  readonly #transport: FrameTransport;
  #epoch = -1;
  #begunEpoch = -1;
  #hops: readonly Hop[] = [];
  #oldFirst: { readonly peer: PeerId; readonly epoch: number } | null = null;
  #finish: () => void = () => undefined;
  readonly done = new Promise<void>((resolve) => (this.#finish = resolve));

  constructor(
    private readonly mesh: ReplicaMesh<Machine>,
    private readonly prompt: readonly number[],
    private readonly maxTokens: number,
    id: number,
  ) {
    this.#id = requestId(id);
    this.#transport = mesh.hub.transport(mesh.requester);
    this.#transport.onFrame((from, bytes) => this.#receive(from, decodeFrame(bytes)));
    this.#transport.onPeerLost((peer) => {
      if (peer === this.#hops[0]?.peer || peer === this.#hops.at(-1)?.peer) this.reroute();
    });
  }

  /** Asks, and waits until the answer is there. */
  async answer(): Promise<readonly number[]> {
    this.reroute();
    await this.done;
    await settled();
    return this.tokens;
  }

  /** Takes another route, over the living. */
  reroute(): void {
    if (this.tokens.length === this.maxTokens) return;
    const [oldFirst] = this.#hops;
    const oldEpoch = this.#epoch;
    this.#epoch += 1;
    this.spoilt = this.tokens.length;
    this.#hops = this.mesh.route();
    const isGone = oldFirst && oldFirst.peer !== this.#hops[0]?.peer && !this.mesh.dead.has(oldFirst.peer);
    if (isGone) this.#oldFirst = { peer: oldFirst.peer, epoch: oldEpoch };
    const request = this.#request();
    this.#hops.forEach((_, hopIndex) => this.scopes.add(cacheScope(request, hopIndex)));
    this.#say({ type: 'open', request, offers: [] });
    if (!agreesOnStarts(request)) this.#sendFrom(0);
  }

  #request(): OpenRequest {
    const known = [...this.prompt, ...this.tokens];
    return {
      route: { requestId: this.#id, epoch: this.#epoch, model: MODEL, hops: [...this.#hops] },
      requester: this.mesh.requester,
      promptTokens: known.length,
      blockHashes: [...chainOf(known).hashes],
      timeLimitMs: 3_600_000,
      maxTokens: this.maxTokens - this.tokens.length,
      stopTokenIds: [],
      sampling: GREEDY,
      history: NO_HISTORY,
      constraint: null,
      keepsCache: this.keepsCache,
      epochKey: EPOCH_KEYS.at(this.#epoch),
    };
  }

  #receive(from: PeerId, frame: Frame): void {
    if (frame.type === 'sampled') {
      for (const part of frame.sequences) {
        const isNext = part.position === this.prompt.length + this.tokens.length;
        if (part.requestId !== this.#id || part.epoch !== this.#epoch || !isNext) continue;
        this.tokens.push(part.tokenId);
        if (this.tokens.length === this.maxTokens) this.#end();
      }
      return;
    }
    if (frame.type !== 'failed' && frame.type !== 'opened') return;
    if (frame.requestId !== this.#id || frame.epoch !== this.#epoch) return;
    if (frame.type === 'opened') this.#begin(from, frame.offers);
    else {
      this.failures.push(frame.error.code);
      this.reroute();
    }
  }

  #begin(from: PeerId, offers: readonly StageOffer[]): void {
    const isWhole = from === this.#hops.at(-1)?.peer && offers.length === this.#hops.length;
    const isEarly = from === this.#hops[0]?.peer && offers.length === 1;
    if (this.#begunEpoch === this.#epoch || (!isWhole && !isEarly)) return;
    this.#begunEpoch = this.#epoch;
    const known = this.prompt.length + this.tokens.length;
    const starts = isWhole ? startsOf(offers, known) : this.#hops.map(() => 0);
    this.offers.push(offers);
    this.starts.push(starts);
    this.#say({ type: 'begin', requestId: this.#id, epoch: this.#epoch, starts });
    this.#sendFrom(starts[0] ?? 0);
    // Only now: what hops behind the old first one have is taken over by then.
    if (this.#oldFirst) {
      const { peer, epoch } = this.#oldFirst;
      this.#say({ type: 'close', requestId: this.#id, epoch, blockHashes: [], isMoved: false }, peer);
    }
    this.#oldFirst = null;
  }

  #sendFrom(position: number): void {
    const tokenIds = Uint32Array.from([...this.prompt, ...this.tokens].slice(position));
    const sequences = [{ requestId: this.#id, epoch: this.#epoch, position, tokenIds }];
    this.#say({ type: 'tokens', sequences });
  }

  #end(): void {
    const { hashes } = chainOf([...this.prompt, ...this.tokens]);
    this.#say({
      type: 'close',
      requestId: this.#id,
      epoch: this.#epoch,
      blockHashes: [...hashes],
      isMoved: false,
    });
    this.#finish();
  }

  #say(frame: Frame, to = this.#hops[0]?.peer): void {
    // A first hop that is gone is noticed by its link.
    if (to !== undefined) this.#transport.send(to, encodeFrame(frame, 'f32')).catch(() => undefined);
  }
}

/** Every hop starts where it can: with what it has, if it can send what the next hop lacks, and else no later than that one. */
function startsOf(offers: readonly StageOffer[], tokens: number): number[] {
  const most = Math.floor((tokens - 1) / BLOCK_TOKENS) * BLOCK_TOKENS;
  const starts: number[] = [];
  for (const { cachedTokens, journalFrom } of [...offers].reverse()) {
    const own = Math.min(cachedTokens, most);
    const [next = own] = starts;
    starts.unshift(journalFrom <= next ? own : Math.min(own, next));
  }
  return starts;
}
