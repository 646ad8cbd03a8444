import { randomBytes } from 'node:crypto';
import type { RawData, WebSocket } from 'ws';
import { SkeinError } from '../src/protocol/errors.ts';
import { decodeClientMessage, REPLACED_CLOSE_CODE } from '../src/protocol/signaling.ts';
import type { ClientMessage, ServerMessage } from '../src/protocol/signaling.ts';
import { TokenBucket } from '../src/protocol/token-bucket.ts';
import {
  CLOSE_GRACE_MS,
  MAX_ERROR_CHARACTERS,
  MAX_SEND_QUEUE_BYTES,
  MAX_STRIKES,
  SLOW_READER_BYTES,
  STRIKE_MEMORY_SECONDS,
} from './limits.ts';
import type { MessageLimits } from './message-limits.ts';

/** Close codes of RFC 6455. */
const POLICY_VIOLATION = 1008;
const GOING_AWAY = 1001;

/** Bytes of a ping's payload: enough that nobody answers one that has not arrived. */
const PING_BYTES = 8;

export interface ClientSocketDeps {
  /** What this socket may say. */
  readonly limits: MessageLimits;
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
  readonly #strikes: TokenBucket;
  #owesMesh = false;
  #answersPings = true;
  /** The last ping whose answer is to be timed; null once it has come. */
  #timedPing: { readonly payload: Buffer; readonly sentMs: number } | null = null;

  constructor(socket: WebSocket, deps: ClientSocketDeps) {
    this.#socket = socket;
    this.#deps = deps;
    this.#strikes = new TokenBucket(MAX_STRIKES - 1, 1 / STRIKE_MEMORY_SECONDS, deps.nowMs());
    socket.on('message', (data, isBinary) => this.#receive(data, isBinary));
    socket.on('ping', ({ byteLength }) => this.#countControl(byteLength));
    socket.on('pong', (payload) => {
      this.#countControl(payload.byteLength);
      this.#hearPong(payload);
    });
    socket.on('close', deps.onClose);
    // The library closes the socket itself after a protocol error, an oversized message among them.
    socket.on('error', (error) => deps.onAbuse(error.message));
  }

  send(message: ServerMessage): void {
    this.#write(JSON.stringify(message));
  }

  /**
   * @param mesh the state of the mesh as JSON, the same bytes for everybody. Who is slow to read is owed it: a later state
   * makes this one of no use.
   */
  sendMesh(mesh: Buffer): void {
    this.#owesMesh = this.isSlow;
    if (!this.#owesMesh) this.#write(mesh);
  }

  /** Whether it was not told the last state of the mesh, and reads again. */
  get wantsMesh(): boolean {
    return this.#owesMesh && !this.isSlow;
  }

  /** Whether much waits for its reader already: what may be left out is. */
  get isSlow(): boolean {
    return this.#socket.bufferedAmount > SLOW_READER_BYTES;
  }

  /** Cuts a socket that did not answer the last ping. */
  ping(): void {
    if (!this.#answersPings) {
      this.#socket.terminate();
      return;
    }
    this.#answersPings = false;
    this.measureRoundTrip();
  }

  /** Pings out of turn; silence has no consequence before the next turn. */
  measureRoundTrip(): void {
    const payload = randomBytes(PING_BYTES);
    this.#timedPing = { payload, sentMs: this.#deps.nowMs() };
    this.#socket.ping(payload);
  }

  /** Refuses a message in words; too many of them close the socket. */
  strike({ code, message, data }: SkeinError): void {
    this.send({ type: 'error', error: { code, message: message.slice(0, MAX_ERROR_CHARACTERS), data } });
    if (this.#strikes.take(this.#deps.nowMs())) return;
    this.#deps.onAbuse(`sent ${MAX_STRIKES} messages that were refused, the last: ${message}`);
    this.refuse('too many refused messages');
  }

  /** Closes the socket of somebody who does not behave. */
  refuse(reason: string): void {
    this.#close(POLICY_VIOLATION, reason);
  }

  /** Closes the socket of a peer that has another now. */
  replace(): void {
    this.#close(REPLACED_CLOSE_CODE, 'replaced');
  }

  goAway(): void {
    this.#socket.close(GOING_AWAY, 'the server stops');
  }

  terminate(): void {
    this.#socket.terminate();
  }

  /** @param text of a server message. */
  #write(text: string | Buffer): void {
    if (this.#socket.bufferedAmount > MAX_SEND_QUEUE_BYTES) {
      this.#deps.onAbuse('does not read what it is sent');
      this.#socket.terminate();
    } else if (this.#socket.readyState === this.#socket.OPEN) {
      this.#socket.send(text, { binary: false });
    }
  }

  /** Who does not close it from the other end within a while is cut. */
  #close(code: number, reason: string): void {
    this.#socket.close(code, reason);
    const cut = setTimeout(() => this.#socket.terminate(), CLOSE_GRACE_MS);
    cut.unref();
    this.#socket.once('close', () => clearTimeout(cut));
  }

  /** Pings and pongs are messages too: each takes time, and a ping an answer. */
  #countControl(sizeBytes: number): void {
    if (this.#socket.readyState !== this.#socket.OPEN) return;
    try {
      this.#deps.limits.takeMessage(sizeBytes, this.#deps.nowMs());
    } catch (thrown) {
      this.strike(SkeinError.from(thrown));
    }
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
      this.strike(SkeinError.from(thrown));
      return;
    }
    this.#deps.onMessage(message);
  }

  #decode(data: RawData, isBinary: boolean): ClientMessage {
    const { limits, nowMs } = this.#deps;
    if (!Buffer.isBuffer(data)) throw new SkeinError('internal', 'A message came in parts.');
    limits.takeMessage(data.byteLength, nowMs());
    if (isBinary) throw new SkeinError('bad-message', 'Signaling messages are text, not binary.');
    const message = decodeClientMessage(data.toString('utf8'));
    limits.takeType(message.type, nowMs());
    return message;
  }
}
