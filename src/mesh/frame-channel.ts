import { SkeinError } from '../protocol/errors.ts';
import {
  FRAME_ASSEMBLY_TIMEOUT_MS,
  SEND_HIGH_WATER_BYTES,
  SEND_LOW_WATER_BYTES,
  SEND_STALL_TIMEOUT_MS,
  SUSPICION_MS,
} from '../protocol/limits.ts';
import type { Clock } from './clock.ts';
import { decodeEcho, encodeEcho, FrameAssembly, splitFrame } from './framing.ts';
import { LinkGauge } from './link-gauge.ts';
import type { LinkMeasurement } from './link-meter.ts';

/** An open, ordered and reliable channel of messages, such as a data channel. */
export interface MessagePipe {
  /** Bytes accepted and not yet on the wire. */
  readonly bufferedAmount: number;
  send(message: Uint8Array<ArrayBuffer>): void;
  close(): void;
  /** The one listener of each kind. `drain` comes when `bufferedAmount` has fallen below SEND_LOW_WATER_BYTES. */
  listen(listener: { message: (message: Uint8Array) => void; drain: () => void }): void;
}

export interface FrameChannelOptions {
  readonly pipe: MessagePipe;
  readonly clock: Clock;
  /** A number that the other end cannot guess, u32. */
  readonly newNonce?: () => number;
  /** The bytes belong to the receiver. */
  readonly onFrame: (frame: Uint8Array<ArrayBuffer>) => void;
  /** Once, when this side ends the channel because of what the other did. */
  readonly onBroken: (error: SkeinError) => void;
}

/** Frames over one message channel: split, paced by the channel's queue, put together again. A peer that breaks the rules loses the channel. */
export class FrameChannel {
  readonly #pipe: MessagePipe;
  readonly #clock: Clock;
  readonly #onFrame: (frame: Uint8Array<ArrayBuffer>) => void;
  readonly #onBroken: (error: SkeinError) => void;
  readonly #assembly = new FrameAssembly();
  readonly #gauge: LinkGauge;
  #cancelAssemblyDeadline: (() => void) | null = null;
  #cancelSuspicion: (() => void) | null = null;
  /** Frames go out one after the other; settles when the last one has. */
  #lastSend: Promise<void> = Promise.resolve();
  #wakeSender: () => void = () => undefined;
  #ended: SkeinError | null = null;

  constructor({ pipe, clock, newNonce = randomNonce, onFrame, onBroken }: FrameChannelOptions) {
    this.#pipe = pipe;
    this.#clock = clock;
    this.#onFrame = onFrame;
    this.#onBroken = onBroken;
    this.#gauge = new LinkGauge({
      clock,
      newNonce,
      send: (echo) => pipe.send(encodeEcho(echo)),
      queuedBytes: () => pipe.bufferedAmount,
    });
    pipe.listen({ message: (message) => this.#receive(message), drain: () => this.#wakeSender() });
  }

  /** What was measured of the way lately; null before the first pong. */
  get measurement(): LinkMeasurement | null {
    return this.#gauge.measurement;
  }

  /** Measures the way now. Resolves with the next pong, or when the channel ends: which is never, where the other end is silent. */
  probe(): Promise<void> {
    return this.#ended ? Promise.resolve() : this.#gauge.probe();
  }

  /** Ends the channel with `error` unless the other end is heard of within SUSPICION_MS. While that is pending, another call does nothing. */
  suspect(error: SkeinError): void {
    if (this.#ended || this.#cancelSuspicion) return;
    this.#gauge.knock();
    this.#cancelSuspicion = this.#clock.after(SUSPICION_MS, () => this.#break(error));
  }

  /**
   * @param frame not to be changed until the promise is done.
   * @returns when every message of the frame is queued and the queue is below its high-water mark.
   * @throws SkeinError what the channel was finished with; `bad-argument` for a frame of a size that cannot travel.
   */
  send(frame: Uint8Array<ArrayBuffer>): Promise<void> {
    const sent = this.#lastSend.then(() => this.#write(frame));
    this.#lastSend = sent.catch(() => undefined);
    return sent;
  }

  /** Ends the channel: waiting sends fail with `error`. Only the first call counts. */
  finish(error: SkeinError): void {
    if (this.#ended) return;
    this.#ended = error;
    this.#cancelAssemblyDeadline?.();
    this.#cancelSuspicion?.();
    this.#gauge.end();
    this.#wakeSender();
    this.#pipe.close();
  }

  async #write(frame: Uint8Array<ArrayBuffer>): Promise<void> {
    const messages = splitFrame(frame);
    if (!this.#ended) this.#gauge.frameBegins(frame.length);
    for (const message of messages) {
      if (this.#ended) throw this.#ended;
      this.#pipe.send(message);
      if (this.#pipe.bufferedAmount > SEND_HIGH_WATER_BYTES) await this.#drained();
    }
    if (!this.#ended) this.#gauge.frameEnded();
  }

  async #drained(): Promise<void> {
    const cancelDeadline = this.#clock.after(SEND_STALL_TIMEOUT_MS, () =>
      this.#break(
        new SkeinError('timeout', `The queue of a link did not drain for ${SEND_STALL_TIMEOUT_MS / 1000} s.`),
      ),
    );
    while (!this.#ended && this.#pipe.bufferedAmount > SEND_LOW_WATER_BYTES) {
      await new Promise<void>((resolve) => (this.#wakeSender = resolve));
    }
    cancelDeadline();
  }

  #receive(message: Uint8Array): void {
    if (this.#ended) return;
    this.#cancelSuspicion?.();
    this.#cancelSuspicion = null;
    let frame: Uint8Array<ArrayBuffer> | null;
    try {
      const echo = decodeEcho(message);
      if (echo) {
        this.#gauge.receive(echo);
        return;
      }
      frame = this.#assembly.push(message);
    } catch (thrown) {
      this.#break(SkeinError.from(thrown));
      return;
    }
    this.#watchAssembly();
    if (frame) this.#onFrame(frame);
  }

  #watchAssembly(): void {
    if (!this.#assembly.isOpen) {
      this.#cancelAssemblyDeadline?.();
      this.#cancelAssemblyDeadline = null;
      return;
    }
    this.#cancelAssemblyDeadline ??= this.#clock.after(FRAME_ASSEMBLY_TIMEOUT_MS, () =>
      this.#break(
        new SkeinError('bad-frame', `A frame was not complete after ${FRAME_ASSEMBLY_TIMEOUT_MS / 1000} s.`),
      ),
    );
  }

  #break(error: SkeinError): void {
    if (this.#ended) return;
    this.finish(error);
    this.#onBroken(error);
  }
}

function randomNonce(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
}
