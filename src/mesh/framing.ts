/**
 * Frames as messages of a data channel, and what measures the way. Little-endian.
 *
 * ```
 * every message                 4 bytes
 *   0  u8   version
 *   1  u8   1 = first message of a frame, 2 = next message of the same frame, 3 = ping, 4 = pong
 *   2  u16  zero
 * first message, after that     4 bytes
 *   4  u32  bytes of the whole frame
 * ping and pong, after that     4 bytes
 *   4  u32  chosen by the sender of the ping; the pong repeats it
 * ```
 *
 * Every message but a frame's last is MAX_MESSAGE_BYTES long, and messages of different frames do not mix. Pings and pongs may
 * come between any two messages.
 */
import { SkeinError } from '../protocol/errors.ts';
import { MAX_FRAME_BYTES, MAX_MESSAGE_BYTES } from '../protocol/limits.ts';

const VERSION = 1;
const KIND = { first: 1, next: 2, ping: 3, pong: 4 } as const;
const OFFSET = { version: 0, kind: 1, zero: 2, frameBytes: 4, nonce: 4 } as const;
const HEAD_BYTES = { first: 8, next: 4 } as const;
const ECHO_BYTES = 8;

/** A ping asks for a pong with the same nonce, at once. */
export interface EchoMessage {
  readonly kind: 'ping' | 'pong';
  /** u32. */
  readonly nonce: number;
}

export function encodeEcho({ kind, nonce }: EchoMessage): Uint8Array<ArrayBuffer> {
  const message = new Uint8Array(ECHO_BYTES);
  message[OFFSET.version] = VERSION;
  message[OFFSET.kind] = KIND[kind];
  new DataView(message.buffer).setUint32(OFFSET.nonce, nonce, true);
  return message;
}

/**
 * @returns null for a message that says it is a part of a frame.
 * @throws SkeinError `bad-frame` for a ping or a pong that `encodeEcho` does not make.
 */
export function decodeEcho(message: Uint8Array): EchoMessage | null {
  const kindByte = message[OFFSET.kind];
  if (kindByte !== KIND.ping && kindByte !== KIND.pong) return null;
  const kind = kindByte === KIND.ping ? 'ping' : 'pong';
  if (message.length !== ECHO_BYTES) {
    refuse(`A ${kind} has ${message.length} bytes where ${ECHO_BYTES} were to come.`);
  }
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  const head = view.getUint32(OFFSET.version, true);
  if (head !== (VERSION | (kindByte << 8))) refuse(`A ${kind} begins with ${head.toString(16)}.`);
  return { kind, nonce: view.getUint32(OFFSET.nonce, true) };
}

/**
 * The messages of a frame, each made when it is asked for.
 * @throws SkeinError `bad-argument` for a frame that is empty or over MAX_FRAME_BYTES.
 */
export function* splitFrame(frame: Uint8Array): Generator<Uint8Array<ArrayBuffer>, void, void> {
  if (frame.length === 0 || frame.length > MAX_FRAME_BYTES) {
    throw new SkeinError(
      'bad-argument',
      `A frame of ${frame.length} bytes is not between 1 and ${MAX_FRAME_BYTES}. It cannot be sent.`,
    );
  }
  let sent = 0;
  while (sent < frame.length) {
    const kind = sent === 0 ? 'first' : 'next';
    const headBytes = HEAD_BYTES[kind];
    const body = frame.subarray(sent, sent + MAX_MESSAGE_BYTES - headBytes);
    const message = new Uint8Array(headBytes + body.length);
    message[OFFSET.version] = VERSION;
    message[OFFSET.kind] = KIND[kind];
    if (kind === 'first') new DataView(message.buffer).setUint32(OFFSET.frameBytes, frame.length, true);
    message.set(body, headBytes);
    sent += body.length;
    yield message;
  }
}

/** Puts messages together again. Memory grows with what has come, not with what is announced. */
export class FrameAssembly {
  #bodies: Uint8Array[] = [];
  #missingBytes = 0;

  /** Whether a frame has begun and not ended. */
  get isOpen(): boolean {
    return this.#missingBytes > 0;
  }

  /**
   * @param message retained until the frame is complete.
   * @returns the frame that this message completes, or null.
   * @throws SkeinError `bad-frame` for anything `splitFrame` does not make; the assembly is of no use after that.
   */
  push(message: Uint8Array): Uint8Array<ArrayBuffer> | null {
    const kind = this.isOpen ? 'next' : 'first';
    const headBytes = HEAD_BYTES[kind];
    const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
    if (message.length <= headBytes || message.length > MAX_MESSAGE_BYTES) {
      refuse(
        `A message of ${message.length} bytes is not between ${headBytes + 1} and ${MAX_MESSAGE_BYTES}.`,
      );
    }
    const head = view.getUint32(OFFSET.version, true);
    if (head !== (VERSION | (KIND[kind] << 8))) {
      refuse(`A message begins with ${head.toString(16)} where the ${kind} of a frame was to come.`);
    }
    if (kind === 'first') this.#begin(view.getUint32(OFFSET.frameBytes, true));
    const body = message.subarray(headBytes);
    const expected = Math.min(this.#missingBytes, MAX_MESSAGE_BYTES - headBytes);
    if (body.length !== expected) {
      refuse(`A message brings ${body.length} bytes of its frame where ${expected} were to come.`);
    }
    this.#bodies.push(body);
    this.#missingBytes -= body.length;
    return this.isOpen ? null : this.#complete();
  }

  #begin(frameBytes: number): void {
    if (frameBytes === 0 || frameBytes > MAX_FRAME_BYTES) {
      refuse(`A frame of ${frameBytes} bytes is announced, and ${MAX_FRAME_BYTES} are allowed.`);
    }
    this.#missingBytes = frameBytes;
  }

  #complete(): Uint8Array<ArrayBuffer> {
    const frame = new Uint8Array(this.#bodies.reduce((sum, { length }) => sum + length, 0));
    let offset = 0;
    for (const body of this.#bodies) {
      frame.set(body, offset);
      offset += body.length;
    }
    this.#bodies = [];
    return frame;
  }
}

function refuse(message: string): never {
  throw new SkeinError('bad-frame', message);
}
