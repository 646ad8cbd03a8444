import type { SkeinError } from '../protocol/errors.ts';
import { SEND_HIGH_WATER_BYTES, SEND_LOW_WATER_BYTES, SEND_STALL_TIMEOUT_MS } from '../protocol/limits.ts';
import type { Clock } from './clock.ts';
import { SendWindow } from './flow-window.ts';
import { splitFrame } from './framing.ts';
import type { LinkGauge } from './link-gauge.ts';

export interface FrameSenderOptions {
  readonly clock: Clock;
  /** Is told when a frame begins and ends. */
  readonly gauge: LinkGauge;
  /** Before it settles nothing is sent: the other end may not listen yet. */
  readonly heard: Promise<void>;
  readonly post: (message: Uint8Array<ArrayBuffer>) => void;
  /** Bytes accepted and not yet on the wire. */
  readonly queuedBytes: () => number;
  /** What is queued does not get less. To be answered with `end`. */
  readonly onStalled: () => void;
}

/** Frames that go out, one after the other: split, paced by the channel's queue and by what the other end has handled. */
export class FrameSender {
  readonly #options: FrameSenderOptions;
  readonly #window = new SendWindow();
  /** Settles when the last frame is out. */
  #lastSend: Promise<void> = Promise.resolve();
  #wake: () => void = () => undefined;
  #ended: SkeinError | null = null;

  constructor(options: FrameSenderOptions) {
    this.#options = options;
  }

  /**
   * @param frame not to be changed until the promise is done.
   * @returns when every message of the frame is queued and the queue is below its high-water mark.
   * @throws SkeinError what the sender was ended with; `bad-argument` for a frame of a size that cannot travel.
   */
  send(frame: Uint8Array<ArrayBuffer>): Promise<void> {
    const sent = this.#lastSend.then(() => this.#write(frame));
    this.#lastSend = sent.catch(() => undefined);
    return sent;
  }

  /** There may be room again. */
  wake(): void {
    this.#wake();
  }

  /** @param total as `SendWindow.hearHandled`, and throws as it does. */
  hearHandled(total: number): void {
    this.#window.hearHandled(total);
    this.#wake();
  }

  /** Waiting sends fail with `error`. */
  end(error: SkeinError): void {
    this.#ended = error;
    this.#wake();
  }

  async #write(frame: Uint8Array<ArrayBuffer>): Promise<void> {
    const { gauge, heard, post, queuedBytes } = this.#options;
    const messages = splitFrame(frame);
    await heard;
    if (!this.#ended && !this.#window.isOpen) await this.#until(() => this.#window.isOpen);
    if (!this.#ended) gauge.frameBegins(frame.length);
    this.#window.spend(frame.length);
    for (const message of messages) {
      if (this.#ended) throw this.#ended;
      post(message);
      if (queuedBytes() > SEND_HIGH_WATER_BYTES) {
        await this.#until(() => queuedBytes() <= SEND_LOW_WATER_BYTES);
      }
    }
    if (!this.#ended) gauge.frameEnded();
  }

  /** Waits as long as there is progress: a long queue on a slow network takes its time. */
  async #until(isReady: () => boolean): Promise<void> {
    const { clock, queuedBytes, onStalled } = this.#options;
    const backlogBytes = () => queuedBytes() + this.#window.outstandingBytes;
    let leastBytes = backlogBytes();
    const watch = (): (() => void) =>
      clock.after(SEND_STALL_TIMEOUT_MS, () => {
        if (backlogBytes() < leastBytes) {
          leastBytes = backlogBytes();
          cancelDeadline = watch();
        } else {
          onStalled();
        }
      });
    let cancelDeadline = watch();
    while (!this.#ended && !isReady()) {
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    cancelDeadline();
  }
}
