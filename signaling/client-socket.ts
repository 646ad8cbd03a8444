import { randomBytes } from 'node:crypto';
import type { RawData, WebSocket } from 'ws';
import { SkeinError } from '../src/protocol/errors.ts';
import { decodeClientMessage } from '../src/protocol/signaling.ts';
import type { ClientMessage, ServerMessage } from '../src/protocol/signaling.ts';
import {
  MAX_ERROR_CHARACTERS,
  MAX_SEND_QUEUE_BYTES,
  MAX_STRIKES,
  MESSAGE_BURST,
  MESSAGES_PER_SECOND,
} from './limits.ts';
import { TokenBucket } from './token-bucket.ts';

/** Close codes of RFC 6455. */
const POLICY_VIOLATION = 1008;
const GOING_AWAY = 1001;

/** Bytes of a ping's payload: enough that nobody answers one that has not arrived. */
const PING_BYTES = 8;

export interface ClientSocketDeps {
  readonly onMessage: (message: ClientMessage) => void;
  /** A ping came back. */
  readonly onRoundTrip: (seconds: number) => void;
  readonly onClose: () => void;
  readonly onAbuse: (reason: string) => void;
  readonly nowMs: () => number;
}

/** One signaling socket: decodes, limits, and gives up on clients that do not behave or do not read. */
export class ClientSocket {
  readonly #socket: WebSocket;
  readonly #deps: ClientSocketDeps;
  readonly #bucket: TokenBucket;
  #strikes = 0;
  #pings = 0;
  #answersPings = true;
  /** The last ping whose answer is to be timed; null once it has come. */
  #timedPing: { readonly payload: Buffer; readonly sentMs: number } | null = null;

  constructor(socket: WebSocket, deps: ClientSocketDeps) {
    this.#socket = socket;
    this.#deps = deps;
    this.#bucket = new TokenBucket(MESSAGE_BURST, MESSAGES_PER_SECOND, deps.nowMs());
    socket.on('message', (data, isBinary) => this.#receive(data, isBinary));
    socket.on('pong', (payload) => this.#hearPong(payload));
    socket.on('close', deps.onClose);
    // The library closes the socket itself after a protocol error, an oversized message among them.
    socket.on('error', (error) => deps.onAbuse(error.message));
  }

  send(message: ServerMessage): void {
    this.sendJson(JSON.stringify(message));
  }

  /** @param json a server message, for those that go to many. */
  sendJson(json: string): void {
    if (this.#socket.bufferedAmount > MAX_SEND_QUEUE_BYTES) {
      this.#deps.onAbuse('does not read what it is sent');
      this.#socket.terminate();
    } else if (this.#socket.readyState === this.#socket.OPEN) {
      this.#socket.send(json);
    }
  }

  /** Cuts a socket that did not answer the last ping, or has been silent since it connected. */
  ping(hasGreeted: boolean): void {
    if (!this.#answersPings || (this.#pings > 0 && !hasGreeted)) {
      this.#socket.terminate();
      return;
    }
    this.#pings += 1;
    this.#answersPings = false;
    this.measureRoundTrip();
  }

  /** Pings out of turn; silence has no consequence before the next turn. */
  measureRoundTrip(): void {
    const payload = randomBytes(PING_BYTES);
    this.#timedPing = { payload, sentMs: this.#deps.nowMs() };
    this.#socket.ping(payload);
  }

  refuse(reason: string): void {
    this.#socket.close(POLICY_VIOLATION, reason);
  }

  goAway(): void {
    this.#socket.close(GOING_AWAY, 'the server stops');
  }

  terminate(): void {
    this.#socket.terminate();
  }

  #hearPong(payload: Buffer): void {
    this.#answersPings = true;
    const ping = this.#timedPing;
    if (ping === null || !payload.equals(ping.payload)) return;
    this.#timedPing = null;
    this.#deps.onRoundTrip((this.#deps.nowMs() - ping.sentMs) / 1000);
  }

  #receive(data: RawData, isBinary: boolean): void {
    // What arrives while the socket closes is nobody's any more.
    if (this.#socket.readyState !== this.#socket.OPEN) return;
    let message: ClientMessage;
    try {
      message = this.#decode(data, isBinary);
    } catch (thrown) {
      this.#strike(SkeinError.from(thrown));
      return;
    }
    this.#deps.onMessage(message);
  }

  #decode(data: RawData, isBinary: boolean): ClientMessage {
    if (!this.#bucket.take(this.#deps.nowMs())) {
      throw new SkeinError('busy', `More than ${MESSAGES_PER_SECOND} messages per second. Slow down.`);
    }
    if (isBinary || !Buffer.isBuffer(data)) {
      throw new SkeinError('bad-message', 'Signaling messages are text, not binary.');
    }
    return decodeClientMessage(data.toString('utf8'));
  }

  #strike({ code, message, data }: SkeinError): void {
    this.send({ type: 'error', error: { code, message: message.slice(0, MAX_ERROR_CHARACTERS), data } });
    this.#strikes += 1;
    if (this.#strikes < MAX_STRIKES) return;
    this.#deps.onAbuse(`sent ${this.#strikes} messages that were refused, the last: ${message}`);
    this.refuse('too many refused messages');
  }
}
