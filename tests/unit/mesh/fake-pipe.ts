import type { MessagePipe } from '../../../src/mesh/frame-channel.ts';
import { ReceiveWindow } from '../../../src/mesh/flow-window.ts';
import { decodeControl, encodeControl, FrameAssembly, numberMessage } from '../../../src/mesh/framing.ts';
import type { ControlMessage, EchoMessage } from '../../../src/mesh/framing.ts';

/** A message channel whose queue a test drains by hand. */
export class FakePipe implements MessagePipe {
  /** @param isAlive whether the other end answers pings and handles frames, at once. */
  constructor(
    readonly isAlive = false,
    /** Whether the other end says hello as soon as it is listened to. */
    readonly greets = true,
  ) {}

  /** Messages of frames. */
  readonly sent: Uint8Array<ArrayBuffer>[] = [];
  /** Pings and pongs. */
  readonly echoes: EchoMessage[] = [];
  /** What else is no part of a frame. */
  readonly notices: ControlMessage[] = [];
  /** The numbers of all messages, in order. */
  readonly numbers: number[] = [];
  bufferedAmount = 0;
  largestBufferedAmount = 0;
  isClosed = false;
  hellos = 0;
  #delivered = 0;
  readonly #assembly = new FrameAssembly();
  readonly #window = new ReceiveWindow();
  #listener: Parameters<MessagePipe['listen']>[0] = { message: () => undefined, drain: () => undefined };

  send(message: Uint8Array<ArrayBuffer>): void {
    const control = decodeControl(message);
    if (control?.kind === 'hello') {
      this.hellos += 1;
      return;
    }
    this.numbers.push(new DataView(message.buffer).getUint16(2, true));
    if (!control) this.sent.push(message);
    else if (control.kind === 'ping' || control.kind === 'pong') this.echoes.push(control);
    else this.notices.push(control);
    if (this.isAlive) this.#answer(message, control);
    this.bufferedAmount += message.length;
    this.largestBufferedAmount = Math.max(this.largestBufferedAmount, this.bufferedAmount);
  }

  close(): void {
    this.isClosed = true;
  }

  listen(listener: Parameters<MessagePipe['listen']>[0]): void {
    this.#listener = listener;
    if (this.greets) this.deliverRaw(encodeControl({ kind: 'hello' }));
  }

  /** The network takes everything but that many bytes. */
  drainTo(bufferedAmount: number): void {
    this.bufferedAmount = bufferedAmount;
    this.#listener.drain();
  }

  /** A message of the other end, numbered as it would number it. */
  deliver(message: Uint8Array): void {
    const numbered = message.slice();
    if (numbered.length >= 4) numberMessage(numbered, this.#delivered);
    this.#delivered += 1;
    this.deliverRaw(numbered);
  }

  deliverRaw(message: Uint8Array): void {
    this.#listener.message(message);
  }

  hear(control: ControlMessage): void {
    this.deliver(encodeControl(control));
  }

  #answer(message: Uint8Array, control: ControlMessage | null): void {
    if (control?.kind === 'ping') this.hear({ kind: 'pong', nonce: control.nonce });
    const frame = control ? null : this.#assembly.push(message);
    if (!frame) return;
    this.#window.take(frame.length);
    const total = this.#window.handled(frame.length);
    if (total !== null) this.hear({ kind: 'handled', total });
  }
}
