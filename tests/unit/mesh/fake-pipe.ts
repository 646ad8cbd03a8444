import type { MessagePipe } from '../../../src/mesh/frame-channel.ts';
import { decodeEcho } from '../../../src/mesh/framing.ts';
import type { EchoMessage } from '../../../src/mesh/framing.ts';

/** A message channel whose queue a test drains by hand. */
export class FakePipe implements MessagePipe {
  /** Messages of frames. */
  readonly sent: Uint8Array<ArrayBuffer>[] = [];
  /** Pings and pongs. */
  readonly echoes: EchoMessage[] = [];
  bufferedAmount = 0;
  largestBufferedAmount = 0;
  isClosed = false;
  #listener: Parameters<MessagePipe['listen']>[0] = { message: () => undefined, drain: () => undefined };

  send(message: Uint8Array<ArrayBuffer>): void {
    const echo = decodeEcho(message);
    if (echo) this.echoes.push(echo);
    else this.sent.push(message);
    this.bufferedAmount += message.length;
    this.largestBufferedAmount = Math.max(this.largestBufferedAmount, this.bufferedAmount);
  }

  close(): void {
    this.isClosed = true;
  }

  listen(listener: Parameters<MessagePipe['listen']>[0]): void {
    this.#listener = listener;
  }

  /** The network takes everything but that many bytes. */
  drainTo(bufferedAmount: number): void {
    this.bufferedAmount = bufferedAmount;
    this.#listener.drain();
  }

  deliver(message: Uint8Array): void {
    this.#listener.message(message);
  }
}
