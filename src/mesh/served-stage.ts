import { SkeinError } from '../protocol/errors.ts';
import { decodeFrame, encodeFrame, peekFrameType } from '../protocol/frame-codec.ts';
import type { ActivationFormat, Frame } from '../protocol/frames.ts';
import type { ModelId, PeerId, RequestId } from '../protocol/ids.ts';
import { SEQUENCE_IDLE_TIMEOUT_MS } from '../protocol/limits.ts';
import type { OpenRequest, StageExecutor, StageOutput } from '../protocol/stage.ts';
import type { FrameTransport } from '../protocol/transport.ts';
import { systemClock } from './clock.ts';
import type { Clock } from './clock.ts';
import { IdleTimer } from './idle-timer.ts';
import { blame, peerError, peerLost } from './peer-errors.ts';
import { admit } from './stage-admission.ts';
import type { StageIdentity } from './stage-admission.ts';
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

/** What a stage did and what it would not do, since it was made. */
export interface StageCounters {
  /** Parts of frames for a request that is not open here, or for another epoch of it. Late frames are normal. */
  dropped: number;
  /** Frames nobody honest sends: damaged, from a peer with no part in the request, out of order. */
  rejected: number;
  /** Forward passes. */
  steps: number;
  /** Sampled tokens; only a last stage samples. */
  tokens: number;
  /** Token rows passed on to a next stage, and the bytes of their frames. */
  activationRows: number;
  activationBytes: number;
}

interface ServedSequence {
  readonly sequence: StageSequence;
  readonly idle: IdleTimer;
  /** Rows that wait until the next hop can be reached, so that no step ever waits for a dial. Null from then on. */
  held: StageRows[] | null;
}

/**
 * One slice on the mesh: frames in, executor, frames out. Needs no DOM, so it runs beside the engine in a worker.
 * A bad frame fails at most the requests that its sender takes part in, and tells their requesters; it never throws.
 * One stage per peer and model, or all stages of the peer in one route.
 */
export class ServedStage {
  readonly #transport: FrameTransport;
  readonly #executor: StageExecutor;
  readonly #identity: StageIdentity;
  readonly #wireFormat: ActivationFormat;
  readonly #clock: Clock;
  readonly #served = new Map<RequestId, ServedSequence>();
  readonly #counters: StageCounters = {
    dropped: 0,
    rejected: 0,
    steps: 0,
    tokens: 0,
    activationRows: 0,
    activationBytes: 0,
  };
  readonly #stopListening: (() => void)[];

  constructor(options: ServedStageOptions) {
    const { transport, executor, model, layerStart, layerEnd, wireFormat, clock = systemClock } = options;
    this.#transport = transport;
    this.#executor = executor;
    this.#identity = { self: transport.self, model, layerStart, layerEnd };
    this.#wireFormat = wireFormat;
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

  /** Fails what is open, so that requesters look for another route at once. Idempotent. */
  dispose(): void {
    for (const stop of this.#stopListening) stop();
    const { self } = this.#identity;
    for (const served of [...this.#served.values()]) {
      this.#fail(served, peerError('peer-lost', self, 'stopped serving. Ask for a new route.'));
    }
    this.#executor.onStep = () => Promise.resolve();
  }

  #receive(from: PeerId, bytes: Uint8Array): void {
    const type = peekFrameType(bytes);
    // For a requester on the same peer.
    if (type === 'sampled' || type === 'failed') return;
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
        this.#open(from, frame.request);
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
        if (served.sequence.upstream === from) this.#end(served);
        else this.#counters.rejected += 1;
        break;
      }
      case 'sampled':
      case 'failed':
        break;
    }
  }

  #open(from: PeerId, request: OpenRequest): void {
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
      this.#tell(request, admission.error);
      return;
    }
    if (older) this.#end(older);
    try {
      this.#executor.open(request);
    } catch (thrown) {
      this.#tell(request, blame(this.#identity.self, thrown));
      return;
    }
    const served: ServedSequence = {
      sequence: new StageSequence(request, admission.hopIndex),
      idle: new IdleTimer(this.#clock, SEQUENCE_IDLE_TIMEOUT_MS, () =>
        this.#fail(served, idleError(request)),
      ),
      held: [],
    };
    this.#served.set(requestId, served);
    void this.#reachNextHop(served);
  }

  async #reachNextHop(served: ServedSequence): Promise<void> {
    const { downstream, request } = served.sequence;
    if (downstream !== null) {
      try {
        await this.#transport.send(downstream, encodeFrame({ type: 'open', request }, this.#wireFormat));
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
      served.idle.touch();
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

  /** Frames are encoded before the first wait: the executor may use its buffers again after that. */
  async #emit(outputs: readonly StageOutput[]): Promise<void> {
    this.#counters.steps += 1;
    const results: StepResult[] = [];
    for (const output of outputs) {
      const served = this.#served.get(output.requestId);
      if (!served) continue;
      served.idle.touch();
      const result = checkOutput(served.sequence, output, this.#identity.self);
      if (result instanceof SkeinError) this.#fail(served, result);
      else results.push(result);
    }
    this.#counters.tokens += results.filter(({ output }) => output.kind === 'token').length;
    const { activations, tokens } = packStep(results);
    // No step waits for tokens: they are a few bytes each, and their requester may have to be dialled first.
    for (const { to, frame } of tokens) void this.#deliver(to, frame);
    await Promise.all(activations.map(({ to, frame }) => this.#deliver(to, frame)));
  }

  async #deliver(to: PeerId, frame: Frame): Promise<void> {
    try {
      const bytes = encodeFrame(frame, this.#wireFormat);
      if (frame.type === 'activations') {
        this.#counters.activationBytes += bytes.length;
        this.#counters.activationRows += frame.sequences.reduce((sum, { rows }) => sum + rows, 0);
      }
      await this.#transport.send(to, bytes);
    } catch (thrown) {
      this.#lose(to, blame(to, thrown));
    }
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
    this.#tell(served.sequence.request, error);
    this.#end(served);
  }

  #end(served: ServedSequence): void {
    if (!this.#isOpen(served)) return;
    const { requestId, epoch, downstream } = served.sequence;
    this.#served.delete(requestId);
    served.idle.stop();
    this.#executor.close(requestId);
    if (downstream !== null) this.#post(downstream, { type: 'close', requestId, epoch });
  }

  #tell({ requester, route }: OpenRequest, error: SkeinError): void {
    const { requestId, epoch } = route;
    this.#post(requester, { type: 'failed', requestId, epoch, error: error.toShape() });
  }

  /** For news of an end: a peer that cannot be told finds out by the lost link, or by silence. */
  #post(to: PeerId, frame: Frame): void {
    this.#transport.send(to, encodeFrame(frame, this.#wireFormat)).catch(() => undefined);
  }
}

function idleError({ route }: OpenRequest): SkeinError {
  return new SkeinError(
    'timeout',
    `Request ${route.requestId} was not fed for ${SEQUENCE_IDLE_TIMEOUT_MS / 1000} s and was closed. Ask for a new route.`,
  );
}
