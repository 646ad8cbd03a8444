import { SkeinError } from '../protocol/errors.ts';
import {
  FRAME_ASSEMBLY_TIMEOUT_MS,
  GREETING_INTERVAL_MS,
  MAX_MESSAGE_BURST,
  MAX_MESSAGES_PER_SECOND,
  SUSPICION_MS,
} from '../protocol/limits.ts';
import { TokenBucket } from '../protocol/token-bucket.ts';
import { incomplete, notRead, saidGoodbye, silent, tooManyMessages } from './channel-errors.ts';
import type { Clock } from './clock.ts';
import { ReceiveWindow } from './flow-window.ts';
import { FrameSender } from './frame-sender.ts';
import {
  checkNumber,
  decodeControl,
  encodeControl,
  FrameAssembly,
  isHello,
  numberMessage,
} from './framing.ts';
import type { ControlMessage } from './framing.ts';
import { Heartbeat } from './heartbeat.ts';
import { LinkGauge } from './link-gauge.ts';
import type { LinkMeasurement } from './link-meter.ts';

/** An open, ordered and reliable channel of messages, such as a data channel. */
export interface MessagePipe {
  /** Bytes accepted and not yet on the wire. */
  readonly bufferedAmount: number;
  /** Says nothing where it is closed already. */
  send(message: Uint8Array<ArrayBuffer>): void;
  close(): void;
  /** The one listener of each kind. `drain` comes when `bufferedAmount` has fallen below SEND_LOW_WATER_BYTES. */
  listen(listener: { message: (message: Uint8Array) => void; drain: () => void }): void;
}

/**
 * What the other end did: it went, or does not answer or read; it sent what nobody honest sends; or so much of it that it can be no
 * accident.
 */
export type LinkFault = 'gone' | 'broken' | 'flood';

export interface FrameChannelOptions {
  readonly pipe: MessagePipe;
  readonly clock: Clock;
  /** A number that the other end cannot guess, u32. */
  readonly newNonce?: () => number;
  /** The bytes belong to the receiver. @returns a promise where the frame still waits for something, else null. */
  readonly onFrame: (frame: Uint8Array<ArrayBuffer>) => Promise<unknown> | null;
  /** More waits than before: a frame, or a part of one. */
  readonly onWaiting?: () => void;
  /** Once, when this side ends the channel because of what the other did. */
  readonly onBroken: (error: SkeinError, fault: LinkFault) => void;
}

/**
 * Frames over one message channel: split, paced by the channel's queue and by what the other end has handled, put together again.
 * A peer that says nothing, goes, or breaks the rules loses the channel.
 */
export class FrameChannel {
  readonly #pipe: MessagePipe;
  readonly #clock: Clock;
  readonly #onFrame: FrameChannelOptions['onFrame'];
  readonly #onWaiting: () => void;
  readonly #onBroken: FrameChannelOptions['onBroken'];
  readonly #assembly = new FrameAssembly();
  readonly #gauge: LinkGauge;
  readonly #heartbeat: Heartbeat;
  readonly #sender: FrameSender;
  readonly #inbound = new ReceiveWindow();
  readonly #ration: TokenBucket;
  /** Settles when the other end was heard, and so listens: what is sent before that may be lost. Or when the channel ends. */
  readonly #heard: Promise<void>;
  #tellHeard: () => void = () => undefined;
  #isHeard = false;
  #cancelGreeting: () => void = () => undefined;
  #messagesSent = 0;
  #messagesHeard = 0;
  #repeatedMessages = 0;
  #cancelAssemblyDeadline: (() => void) | null = null;
  #cancelSuspicion: (() => void) | null = null;
  #ended: SkeinError | null = null;

  constructor({
    pipe,
    clock,
    newNonce = randomNonce,
    onFrame,
    onWaiting = () => undefined,
    onBroken,
  }: FrameChannelOptions) {
    this.#pipe = pipe;
    this.#clock = clock;
    this.#onFrame = onFrame;
    this.#onWaiting = onWaiting;
    this.#onBroken = onBroken;
    this.#gauge = new LinkGauge({
      clock,
      newNonce,
      send: (echo) => this.#say(echo),
      queuedBytes: () => pipe.bufferedAmount,
    });
    this.#heartbeat = new Heartbeat({
      clock,
      knock: () => this.#knock(),
      onSilent: () => this.#break(silent(), 'gone'),
    });
    this.#ration = new TokenBucket(MAX_MESSAGE_BURST, MAX_MESSAGES_PER_SECOND, clock.now());
    this.#heard = new Promise((resolve) => (this.#tellHeard = resolve));
    this.#sender = new FrameSender({
      clock,
      gauge: this.#gauge,
      heard: this.#heard,
      post: (message) => this.#post(message),
      queuedBytes: () => pipe.bufferedAmount,
      onStalled: () => this.#break(notRead(), 'gone'),
    });
    pipe.listen({ message: (message) => this.#receive(message), drain: () => this.#sender.wake() });
    if (!this.#isHeard) this.#greet();
  }

  /** What was measured of the way lately; null before the first pong. */
  get measurement(): LinkMeasurement | null {
    return this.#gauge.measurement;
  }

  /** What has come and is not handled yet: frames, as they count, and parts of one. */
  get waitingBytes(): number {
    return this.#inbound.waitingBytes + this.#assembly.heldBytes;
  }

  /** Messages that came twice and were dropped. */
  get repeatedMessages(): number {
    return this.#repeatedMessages;
  }

  /** Measures the way now. Resolves with the next pong, or when the channel ends. */
  async probe(): Promise<void> {
    await this.#heard;
    if (!this.#ended) await this.#gauge.probe();
  }

  /** Ends the channel with `error` unless the other end is heard of within SUSPICION_MS. While that is pending, another call does nothing. */
  suspect(error: SkeinError): void {
    if (this.#ended || this.#cancelSuspicion) return;
    this.#knock();
    this.#cancelSuspicion = this.#clock.after(SUSPICION_MS, () => this.#break(error, 'gone'));
  }

  /** As `FrameSender.send`; fails with what the channel was finished with. */
  send(frame: Uint8Array<ArrayBuffer>): Promise<void> {
    return this.#sender.send(frame);
  }

  /** Ends the channel, and says so to the other end: waiting sends fail with `error`. Only the first call counts. */
  finish(error: SkeinError): void {
    if (this.#ended) return;
    if (this.#isHeard) this.#say({ kind: 'bye' });
    this.#ended = error;
    this.#cancelGreeting();
    this.#tellHeard();
    this.#cancelAssemblyDeadline?.();
    this.#cancelSuspicion?.();
    this.#heartbeat.stop();
    this.#gauge.end();
    this.#sender.end(error);
    this.#pipe.close();
  }

  /** Until the other end is heard: it may not have listened yet. */
  #greet(): void {
    this.#pipe.send(encodeControl({ kind: 'hello' }));
    this.#cancelGreeting = this.#clock.after(GREETING_INTERVAL_MS, () => this.#greet());
  }

  /** The other end listens, since it speaks; that this one does it may not know. */
  #hearFirst(): void {
    this.#isHeard = true;
    this.#cancelGreeting();
    this.#pipe.send(encodeControl({ kind: 'hello' }));
    this.#tellHeard();
  }

  /** Greetings ask for an answer as well as pings do. */
  #knock(): void {
    if (this.#isHeard) this.#gauge.knock();
  }

  #say(control: ControlMessage): void {
    if (!this.#ended) this.#post(encodeControl(control));
  }

  #post(message: Uint8Array<ArrayBuffer>): void {
    numberMessage(message, this.#messagesSent);
    this.#messagesSent += 1;
    this.#heartbeat.spoke();
    this.#pipe.send(message);
  }

  #receive(message: Uint8Array): void {
    if (this.#ended) return;
    this.#heartbeat.heard();
    this.#cancelSuspicion?.();
    this.#cancelSuspicion = null;
    if (!this.#ration.take(this.#clock.now())) {
      this.#break(tooManyMessages(), 'flood');
      return;
    }
    let frame: Uint8Array<ArrayBuffer> | null = null;
    try {
      if (isHello(message)) {
        decodeControl(message);
        if (!this.#isHeard) this.#hearFirst();
        return;
      }
      if (!this.#isHeard) this.#hearFirst();
      if (!checkNumber(message, this.#messagesHeard)) {
        this.#repeatedMessages += 1;
        return;
      }
      this.#messagesHeard += 1;
      const control = decodeControl(message);
      if (control) this.#hear(control);
      else frame = this.#assemble(message);
    } catch (thrown) {
      this.#break(SkeinError.from(thrown), 'broken');
      return;
    }
    if (frame) this.#deliver(frame);
    else if (this.#assembly.isOpen) this.#onWaiting();
  }

  #hear(control: ControlMessage): void {
    switch (control.kind) {
      case 'ping':
      case 'pong':
        this.#gauge.receive(control);
        break;
      case 'handled':
        this.#sender.hearHandled(control.total);
        break;
      case 'bye':
        this.#break(saidGoodbye(), 'gone');
        break;
      case 'hello':
        break;
    }
  }

  #assemble(message: Uint8Array): Uint8Array<ArrayBuffer> | null {
    const frame = this.#assembly.push(message);
    this.#cancelAssemblyDeadline?.();
    this.#cancelAssemblyDeadline = this.#assembly.isOpen
      ? this.#clock.after(FRAME_ASSEMBLY_TIMEOUT_MS, () => this.#break(incomplete(), 'broken'))
      : null;
    return frame;
  }

  #deliver(frame: Uint8Array<ArrayBuffer>): void {
    try {
      this.#inbound.take(frame.length);
    } catch (thrown) {
      this.#break(SkeinError.from(thrown), 'flood');
      return;
    }
    const sizeBytes = frame.length;
    const handled = () => {
      const total = this.#inbound.handled(sizeBytes);
      if (total !== null) this.#say({ kind: 'handled', total });
    };
    const waiting = this.#onFrame(frame);
    if (waiting) {
      void waiting.finally(handled);
      this.#onWaiting();
    } else {
      handled();
    }
  }

  #break(error: SkeinError, fault: LinkFault): void {
    if (this.#ended) return;
    this.finish(error);
    this.#onBroken(error, fault);
  }
}

function randomNonce(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
}
