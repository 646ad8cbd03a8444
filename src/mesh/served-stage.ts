import { SkeinError } from '../protocol/errors.ts';
import { decodeFrame, peekFrameType } from '../protocol/frame-codec.ts';
import type { ActivationFormat, Frame } from '../protocol/frames.ts';
import type { ModelId, PeerId, RequestId } from '../protocol/ids.ts';
import { cacheableTokens } from '../protocol/stage.ts';
import type { OpenRequest, StageExecutor, StageOutput } from '../protocol/stage.ts';
import type { FrameTransport } from '../protocol/transport.ts';
import { cacheScope } from './cache-scope.ts';
import { systemClock } from './clock.ts';
import type { Clock } from './clock.ts';
import { blame, peerError, peerLost } from './peer-errors.ts';
import { ServedSequence } from './served-sequence.ts';
import { admit } from './stage-admission.ts';
import type { StageIdentity } from './stage-admission.ts';
import { newCounters } from './stage-counters.ts';
import type { StageCounters } from './stage-counters.ts';
import { StageSender } from './stage-sender.ts';
import { StageSequence } from './stage-sequence.ts';
import type { StageRows } from './stage-sequence.ts';
import { checkOutput, packStep } from './step-frames.ts';
import type { StepResult } from './step-frames.ts';

export interface ServedStageOptions {
  readonly transport: FrameTransport;
  /** This stage becomes its only user. */
  readonly executor: StageExecutor;
  readonly model: ModelId;
  readonly layerStart: number;
  /** Exclusive. */
  readonly layerEnd: number;
  /** Of the activations this stage sends; it takes both. */
  readonly wireFormat: ActivationFormat;
  readonly clock?: Clock;
}

/**
 * One slice on the mesh: frames in, executor, frames out. Needs no DOM, so it runs beside the engine in a worker.
 * A bad frame fails at most the requests that its sender takes part in, and tells their requesters; it never throws.
 * One stage per peer and model, or all stages of the peer in one route.
 */
export class ServedStage {
  readonly #executor: StageExecutor;
  readonly #identity: StageIdentity;
  readonly #sender: StageSender;
  readonly #clock: Clock;
  readonly #served = new Map<RequestId, ServedSequence>();
  readonly #counters = newCounters();
  readonly #stopListening: (() => void)[];

  constructor(options: ServedStageOptions) {
    const { transport, executor, model, layerStart, layerEnd, wireFormat, clock = systemClock } = options;
    this.#executor = executor;
    this.#identity = { self: transport.self, model, layerStart, layerEnd };
    this.#sender = new StageSender(transport, wireFormat, this.#counters, (peer, error) =>
      this.#lose(peer, error),
    );
    this.#clock = clock;
    executor.onStep = (outputs) => this.#emit(outputs);
    this.#stopListening = [
      transport.onFrame((from, bytes) => this.#receive(from, bytes)),
      transport.onPeerLost((peer) => this.#lose(peer)),
    ];
  }

  get counters(): Readonly<StageCounters> {
    return { ...this.#counters };
  }

  /** Requests that are open here. */
  get activeRequests(): number {
    return this.#served.size;
  }

  /**
   * Fails what is open, so that requesters look for another route at once. Idempotent.
   * @param reason what they are told, naming this peer.
   */
  dispose(reason?: SkeinError): void {
    for (const stop of this.#stopListening) stop();
    const { self } = this.#identity;
    const error =
      reason === undefined
        ? peerError('peer-lost', self, 'stopped serving. Ask for a new route.')
        : blame(self, reason);
    for (const served of [...this.#served.values()]) this.#fail(served, error);
    this.#executor.onStep = () => Promise.resolve();
  }

  #receive(from: PeerId, bytes: Uint8Array): void {
    const type = peekFrameType(bytes);
    // For a requester on the same peer.
    if (type === 'opened' || type === 'sampled' || type === 'failed') return;
    let frame: Frame;
    try {
      frame = decodeFrame(bytes);
    } catch (thrown) {
      this.#distrust(from, thrown);
      return;
    }
    this.#handle(from, frame);
  }

  #handle(from: PeerId, frame: Frame): void {
    switch (frame.type) {
      case 'open':
        this.#open(from, frame.request, frame.cachedTokens);
        break;
      case 'tokens':
        for (const part of frame.sequences) {
          this.#take(from, part, (sequence) => sequence.takeTokens(from, part.position, part.tokenIds));
        }
        break;
      case 'activations':
        for (const part of frame.sequences) {
          this.#take(from, part, (sequence) =>
            sequence.takeActivations(from, part.position, part.rows, part.values),
          );
        }
        break;
      case 'close': {
        const served = this.#find(frame);
        if (!served) break;
        if (served.sequence.upstream === from) this.#end(served, frame.blockHashes);
        else this.#counters.rejected += 1;
        break;
      }
      case 'opened':
      case 'sampled':
      case 'failed':
        break;
    }
  }

  /** @param cachedUpstream what the hops before this one have of the prompt. */
  #open(from: PeerId, request: OpenRequest, cachedUpstream: number): void {
    const { requestId, epoch } = request.route;
    const older = this.#served.get(requestId);
    if (older && older.sequence.epoch >= epoch) {
      this.#counters.dropped += 1;
      return;
    }
    const admission = admit(request, from, this.#identity);
    if (admission.kind === 'stranger' || (older && older.sequence.request.requester !== request.requester)) {
      this.#counters.rejected += 1;
      return;
    }
    if (admission.kind === 'refused') {
      this.#counters.rejected += 1;
      this.#sender.postFailure(request, admission.error);
      return;
    }
    // The prompt of the later epoch goes on where the earlier ended, so its hashes name what that one computed. Only who fed
    // that one is believed: others have no part in what is cached in its scope.
    if (older) this.#end(older, older.sequence.upstream === from ? request.blockHashes : []);
    let cachedTokens: number;
    try {
      const here = this.#executor.open(request, cacheScope(request, admission.hopIndex));
      cachedTokens = Math.min(cachedUpstream, here.cachedTokens);
    } catch (thrown) {
      this.#sender.postFailure(request, blame(this.#identity.self, thrown));
      return;
    }
    const sequence = new StageSequence(request, admission.hopIndex, cachedTokens);
    const served = new ServedSequence(sequence, this.#clock, (error) => this.#fail(served, error));
    this.#served.set(requestId, served);
    this.#answerOpen(served.sequence);
    void this.#reachNextHop(served);
  }

  /** The requester is told what is cached where that is final: at the last hop, or at the first when it is nothing. */
  #answerOpen({ request, requestId, epoch, cachedTokens, downstream, isFirst }: StageSequence): void {
    const isFinal = downstream === null || (isFirst && cachedTokens === 0);
    if (cacheableTokens(request) === 0 || !isFinal) return;
    void this.#sender.deliver(request.requester, { type: 'opened', requestId, epoch, cachedTokens });
  }

  async #reachNextHop(served: ServedSequence): Promise<void> {
    const { downstream, request, cachedTokens } = served.sequence;
    if (downstream !== null) {
      try {
        await this.#sender.send(downstream, { type: 'open', request, cachedTokens });
      } catch (thrown) {
        this.#fail(served, blame(downstream, thrown));
        return;
      }
    }
    const held = served.held ?? [];
    served.held = null;
    for (const rows of held) this.#feed(served, rows);
  }

  #take(
    from: PeerId,
    part: { requestId: RequestId; epoch: number },
    read: (sequence: StageSequence) => StageRows | null,
  ): void {
    const served = this.#find(part);
    if (!served) return;
    try {
      const rows = read(served.sequence);
      if (rows === null) {
        this.#counters.rejected += 1;
        return;
      }
      served.touch();
      if (served.held) served.held.push(rows);
      else this.#feed(served, rows);
    } catch (thrown) {
      this.#counters.rejected += 1;
      this.#fail(served, blame(from, thrown));
    }
  }

  #feed(served: ServedSequence, { position, input }: StageRows): void {
    if (!this.#isOpen(served)) return;
    try {
      this.#executor.push(served.sequence.requestId, position, input);
    } catch (thrown) {
      this.#counters.rejected += 1;
      this.#fail(served, blame(served.sequence.upstream, thrown));
    }
  }

  /** Every frame is encoded before the first wait: the executor may use its buffers again after that. */
  async #emit(outputs: readonly StageOutput[]): Promise<void> {
    this.#counters.steps += 1;
    const results: StepResult[] = [];
    for (const output of outputs) {
      const served = this.#served.get(output.requestId);
      if (!served) continue;
      served.touch();
      const result = checkOutput(served.sequence, output, this.#identity.self);
      if (result instanceof SkeinError) this.#fail(served, result);
      else results.push(result);
    }
    this.#counters.tokens += results.filter(({ output }) => output.kind === 'token').length;
    const { activations, tokens } = packStep(results);
    // No step waits for tokens: they are a few bytes each, and their requester may have to be dialled first.
    for (const { to, frame } of tokens) {
      if (this.#isForItself(to, frame)) this.#handle(to, frame);
      else void this.#sender.deliver(to, frame);
    }
    await Promise.all(activations.map(({ to, frame }) => this.#sender.deliver(to, frame)));
  }

  /**
   * A stage that is a whole route feeds itself at once. Over the transport its tokens would come back after the next pass has
   * begun without them, and two halves of a batch would take turns for ever.
   */
  #isForItself(to: PeerId, frame: Frame): boolean {
    return (
      to === this.#identity.self &&
      frame.type === 'tokens' &&
      frame.sequences.every(({ requestId }) => this.#served.get(requestId)?.sequence.isFirst)
    );
  }

  /** Nothing of a damaged frame can be believed, so everything that its sender feeds ends. */
  #distrust(from: PeerId, thrown: unknown): void {
    this.#counters.rejected += 1;
    for (const served of [...this.#served.values()]) {
      if (served.sequence.isFedBy(from)) this.#fail(served, blame(from, thrown));
    }
  }

  #lose(peer: PeerId, error: SkeinError = peerLost(peer)): void {
    for (const served of [...this.#served.values()]) {
      if (served.sequence.request.requester === peer) this.#end(served);
      else if (served.sequence.needs(peer)) this.#fail(served, error);
    }
  }

  #find({ requestId, epoch }: { requestId: RequestId; epoch: number }): ServedSequence | null {
    const served = this.#served.get(requestId);
    if (served?.sequence.epoch === epoch) return served;
    this.#counters.dropped += 1;
    return null;
  }

  #isOpen(served: ServedSequence): boolean {
    return this.#served.get(served.sequence.requestId) === served;
  }

  #fail(served: ServedSequence, error: SkeinError): void {
    if (!this.#isOpen(served)) return;
    this.#sender.postFailure(served.sequence.request, error);
    this.#end(served);
  }

  /** @param blockHashes of prompt and answer, as far as somebody who saw them named them. */
  #end(served: ServedSequence, blockHashes: readonly string[] = []): void {
    if (!this.#isOpen(served)) return;
    const { requestId, epoch, downstream } = served.sequence;
    this.#served.delete(requestId);
    served.stop();
    this.#executor.close(requestId, blockHashes);
    if (downstream !== null) this.#sender.post(downstream, { type: 'close', requestId, epoch, blockHashes });
  }
}
