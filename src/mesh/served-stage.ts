import { SkeinError } from '../protocol/errors.ts';
import { decodeFrame, peekFrameType } from '../protocol/frame-codec.ts';
import type { ActivationFormat, Frame } from '../protocol/frames.ts';
import type { ModelId, PeerId } from '../protocol/ids.ts';
import { MAX_JOURNAL_BYTES } from '../protocol/limits.ts';
import type { StageExecutor, StageOutput } from '../protocol/stage.ts';
import type { FrameTransport } from '../protocol/transport.ts';
import { systemClock } from './clock.ts';
import type { Clock } from './clock.ts';
import { JournalShelf } from './journal-shelf.ts';
import { OpenSequences } from './open-sequences.ts';
import type { Aftermath } from './open-sequences.ts';
import { blame, peerError } from './peer-errors.ts';
import type { StageContext } from './stage-context.ts';
import { newCounters } from './stage-counters.ts';
import type { StageCounters } from './stage-counters.ts';
import { StageFeeding } from './stage-feeding.ts';
import { StageInquiries } from './stage-inquiries.ts';
import { StageOpening } from './stage-opening.ts';
import { StagePacing } from './stage-pacing.ts';
import { StageSender } from './stage-sender.ts';
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
  /** Of what was sent, kept to be sent again. */
  readonly maxJournalBytes?: number;
  readonly clock?: Clock;
}

/**
 * One slice on the mesh: frames in, executor, frames out. Needs no DOM, so it runs beside the engine in a worker.
 * A bad frame fails at most the requests that its sender takes part in, and tells their requesters; it never throws.
 * One stage per peer and model, or all stages of the peer in one route.
 */
export class ServedStage {
  readonly #context: StageContext;
  readonly #sequences: OpenSequences;
  readonly #feeding: StageFeeding;
  readonly #opening: StageOpening;
  readonly #inquiries: StageInquiries;
  readonly #pacing: StagePacing;
  readonly #wireFormat: ActivationFormat;
  readonly #stopListening: (() => void)[];

  constructor(options: ServedStageOptions) {
    const { transport, executor, model, layerStart, layerEnd, wireFormat, clock = systemClock } = options;
    const { self } = transport;
    const counters = newCounters();
    this.#context = {
      identity: { self, model, layerStart, layerEnd },
      executor,
      sender: new StageSender(transport, wireFormat, counters, (peer, error) => this.#lose(peer, error)),
      journals: new JournalShelf(options.maxJournalBytes ?? MAX_JOURNAL_BYTES),
      counters,
      clock,
      reject: (from, reason) => {
        counters.rejected += 1;
        if (from !== self) transport.reject(from, reason);
      },
    };
    this.#sequences = new OpenSequences(this.#context);
    this.#feeding = new StageFeeding(this.#context, this.#sequences);
    this.#opening = new StageOpening(this.#context, this.#sequences, this.#feeding);
    this.#inquiries = new StageInquiries(this.#context, this.#sequences, this.#feeding);
    this.#pacing = new StagePacing(this.#context, this.#sequences);
    this.#wireFormat = wireFormat;
    executor.onStep = (outputs) => this.#emit(outputs);
    this.#stopListening = [
      transport.onFrame((from, bytes) => this.#receive(from, bytes)),
      transport.onPeerLost((peer, reason) => this.#lose(peer, blame(peer, reason))),
    ];
  }

  get counters(): Readonly<StageCounters> {
    return { ...this.#context.counters };
  }

  /** Requests that run here. */
  get activeRequests(): number {
    return this.#sequences.all.length - this.suspendedRequests;
  }

  /** Requests that failed, and of which what is here waits for a later epoch. */
  get suspendedRequests(): number {
    return this.#sequences.suspended.length;
  }

  /** Bytes of what was sent, kept to be sent again. */
  get journalBytes(): number {
    return this.#context.journals.sizeBytes;
  }

  /**
   * Fails what is open, so that requesters look for another route at once. What the hops behind this one have may be of use for
   * that, so they are told nothing. Idempotent.
   * @param reason what they are told, naming this peer.
   */
  dispose(reason?: SkeinError): void {
    for (const stop of this.#stopListening) stop();
    const { identity, sender, executor } = this.#context;
    const { self } = identity;
    const error =
      reason === undefined
        ? peerError('peer-lost', self, 'stopped serving. Ask for a new route.')
        : blame(self, reason);
    for (const served of this.#sequences.all) {
      if (!served.isSuspended) sender.postFailure(served.sequence.request, error);
      this.#sequences.end(served, [], true);
    }
    executor.onStep = () => Promise.resolve();
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
        this.#opening.open(from, frame);
        break;
      case 'begin':
        this.#opening.begin(from, frame);
        break;
      case 'tokens':
        this.#feeding.takeTokens(from, frame);
        break;
      case 'activations':
        this.#feeding.takeActivations(from, frame);
        break;
      case 'inquire':
        this.#inquiries.answer(from, frame);
        break;
      case 'state':
        this.#inquiries.relay(from, frame);
        break;
      case 'close': {
        const served = this.#sequences.find(frame);
        if (!served) break;
        if (served.sequence.upstream === from) this.#sequences.end(served, frame.blockHashes, frame.isMoved);
        else this.#feeding.refuse(from, served.sequence);
        break;
      }
      case 'opened':
      case 'sampled':
      case 'failed':
        break;
    }
  }

  /** Every frame is encoded before the first wait: the executor may use its buffers again after that. */
  async #emit(outputs: readonly StageOutput[]): Promise<void> {
    const { counters, sender } = this.#context;
    counters.steps += 1;
    const { activations, tokens } = packStep(outputs.flatMap((output) => this.#resultsOf(output)));
    // No step waits for tokens: they are a few bytes each, and their requester may have to be dialled first.
    for (const { to, frame } of tokens) {
      if (this.#isForItself(to, frame)) this.#handle(to, frame);
      else void sender.deliver(to, frame);
    }
    await Promise.all(
      activations.map(({ to, frame, format }) => this.#pacing.wait(to, sender.deliver(to, frame, format))),
    );
  }

  /** What of an output may travel: nothing of what failed or is not sound, and no row that the next hop has already. */
  #resultsOf(output: StageOutput): StepResult[] {
    const { identity, journals, counters } = this.#context;
    const served = this.#sequences.get(output.requestId);
    if (!served) return [];
    served.touch();
    if (output.kind === 'failed') {
      this.#sequences.fail(served, blame(identity.self, output.error), aftermathOf(output.error));
      return [];
    }
    const result = checkOutput(served.sequence, output, identity.self, this.#wireFormat);
    if (result instanceof SkeinError) {
      this.#sequences.fail(served, result, 'ended');
      return [];
    }
    if (result.kind === 'rows') journals.append(output.requestId, result.rows);
    // What comes of rows that were here when it failed is sent again when it goes on.
    if (served.isSuspended) return [];
    if (result.kind === 'token') counters.tokens += 1;
    served.sentUpTo =
      result.kind === 'rows' ? result.rows.position + result.rows.rows : result.output.position;
    return [result];
  }

  /**
   * A stage that is a whole route feeds itself at once. Over the transport its tokens would come back after the next pass has
   * begun without them, and two halves of a batch would take turns for ever.
   */
  #isForItself(to: PeerId, frame: Frame): boolean {
    return (
      to === this.#context.identity.self &&
      frame.type === 'tokens' &&
      frame.sequences.every(({ requestId }) => this.#sequences.get(requestId)?.sequence.isFirst)
    );
  }

  /** Nothing of a damaged frame can be believed, so everything that its sender feeds fails. */
  #distrust(from: PeerId, thrown: unknown): void {
    const error = blame(from, thrown);
    this.#context.reject(from, error);
    for (const served of this.#sequences.all) {
      if (served.sequence.isFedBy(from)) this.#sequences.fail(served, error, 'suspended');
    }
  }

  #lose(peer: PeerId, error: SkeinError): void {
    for (const served of this.#sequences.all) {
      // It may come back: a link can break without anybody having left.
      if (served.sequence.request.requester === peer) this.#sequences.suspend(served);
      else if (served.sequence.needs(peer)) {
        if (!served.isSuspended) served.lostPeer = peer;
        this.#sequences.fail(served, error, 'suspended');
      }
    }
  }
}

/** A stage that had no room has done nothing wrong, and what it sent before is worth sending again. */
function aftermathOf({ code }: SkeinError): Aftermath {
  return code === 'busy' || code === 'out-of-memory' ? 'suspended' : 'ended';
}
