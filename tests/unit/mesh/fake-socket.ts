import type { SignalingSocket } from '../../../src/mesh/signaling-client.ts';
import { decodeClientMessage } from '../../../src/protocol/signaling.ts';
import type { ClientMessage, ServerMessage } from '../../../src/protocol/signaling.ts';

interface FakeEvent {
  readonly data: unknown;
  readonly code: number;
}

/** The server's end of a socket. */
export class FakeSocket implements SignalingSocket {
  readonly sent: ClientMessage[] = [];
  isClosed = false;
  readonly #listeners: { readonly type: string; readonly listener: (event: FakeEvent) => void }[] = [];

  send(text: string): void {
    this.sent.push(decodeClientMessage(text));
  }

  close(): void {
    this.isClosed = true;
  }

  addEventListener(type: string, listener: (event: FakeEvent) => void): void {
    this.#listeners.push({ type, listener });
  }

  fire(type: 'open' | 'close' | 'error' | 'message', data?: unknown, code = 1006): void {
    for (const entry of [...this.#listeners]) if (entry.type === type) entry.listener({ data, code });
  }

  say(message: ServerMessage): void {
    this.fire('message', JSON.stringify(message));
  }
}
