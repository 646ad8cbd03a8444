/**
 * Frames as messages of a data channel, and what keeps and measures the way. Little-endian.
 *
 * ```
 * every message                 4 bytes
 *   0  u8   version
 *   1  u8   1 = first message of a frame, 2 = next message of the same frame, 3 = ping, 4 = pong, 5 = handled, 6 = bye, 7 = hello
 *   2  u16  number of the message in its direction, from 0, and 0 again after 65,535; a hello has none
 * first message, after that     8 bytes
 *   4  u32  bytes of the whole frame
 *   8  u32  CRC-32 of the whole frame
 * ping and pong, after that     4 bytes
 *   4  u32  chosen by the sender of the ping; the pong repeats it
 * handled, after that           4 bytes
 *   4  u32  what the frames that were handled count so far, from the first, modulo 2^32
 * ```
 *
 * Every message but a frame's last is MAX_MESSAGE_BYTES long, and messages of different frames do not mix. The other kinds may
 * come between any two messages.
 */
import { SkeinError } from '../protocol/errors.ts';
import { MAX_FRAME_BYTES, MAX_MESSAGE_BYTES } from '../protocol/limits.ts';
import { crc32 } from './checksum.ts';

const VERSION = 2;
const KIND = { first: 1, next: 2, ping: 3, pong: 4, handled: 5, bye: 6, hello: 7 } as const;
const OFFSET = { version: 0, kind: 1, number: 2, frameBytes: 4, checksum: 8, value: 4 } as const;
const HEAD_BYTES = { first: 12, next: 4 } as const;
const CONTROL_BYTES = { ping: 8, pong: 8, handled: 8, bye: 4, hello: 4 } as const;
const CONTROL_KINDS = ['ping', 'pong', 'handled', 'bye', 'hello'] as const;
/** A number in the half behind the one that is awaited was there before. */
const NUMBERS = 2 ** 16;

/** A ping asks for a pong with the same nonce, at once. */
export interface EchoMessage {
  readonly kind: 'ping' | 'pong';
  /** u32. */
  readonly nonce: number;
}

/** All that is no part of a frame. */
export type ControlMessage =
  | EchoMessage
  /** The receiver of frames tells their sender how much of them it has handled. */
  | { readonly kind: 'handled'; readonly total: number }
  /** Nothing follows: the sender goes. */
  | { readonly kind: 'bye' }
  /** The sender listens. */
  | { readonly kind: 'hello' };

export function encodeControl(control: ControlMessage): Uint8Array<ArrayBuffer> {
  const message = new Uint8Array(CONTROL_BYTES[control.kind]);
  message[OFFSET.version] = VERSION;
  message[OFFSET.kind] = KIND[control.kind];
  if (control.kind === 'bye' || control.kind === 'hello') return message;
  const value = control.kind === 'handled' ? control.total : control.nonce;
  new DataView(message.buffer).setUint32(OFFSET.value, value, true);
  return message;
}

/**
 * @returns null for a message that says it is a part of a frame.
 * @throws SkeinError `bad-frame` for what `encodeControl` does not make; numbers are another's care.
 */
export function decodeControl(message: Uint8Array): ControlMessage | null {
  const kind = CONTROL_KINDS.find((each) => KIND[each] === message[OFFSET.kind]);
  if (kind === undefined) return null;
  if (message.length !== CONTROL_BYTES[kind]) {
    refuse(`A ${kind} has ${message.length} bytes where ${CONTROL_BYTES[kind]} were to come.`);
  }
  if (message[OFFSET.version] !== VERSION) refuse(`A ${kind} is of version ${message[OFFSET.version] ?? 0}.`);
  if (kind === 'bye' || kind === 'hello') return { kind };
  const value = viewOf(message).getUint32(OFFSET.value, true);
  return kind === 'handled' ? { kind, total: value } : { kind, nonce: value };
}

/** Whether it says that it is a hello, which has no number. */
export function isHello(message: Uint8Array): boolean {
  return message[OFFSET.kind] === KIND.hello;
}

/** Gives a message its place among those of its direction. @param count of those before it. */
export function numberMessage(message: Uint8Array, count: number): void {
  viewOf(message).setUint16(OFFSET.number, count % NUMBERS, true);
}

/**
 * Data channels keep order and lose nothing; whatever comes otherwise was tampered with, or went through something broken.
 * @param count of the messages before it. @returns whether it is new; false for one that was there before.
 * @throws SkeinError `bad-frame` where messages before it are missing, or it is too short to tell.
 */
export function checkNumber(message: Uint8Array, count: number): boolean {
  if (message.length < HEAD_BYTES.next) refuse(`A message has ${message.length} bytes.`);
  const ahead = (viewOf(message).getUint16(OFFSET.number, true) - (count % NUMBERS) + NUMBERS) % NUMBERS;
  if (ahead === 0) return true;
  if (ahead >= NUMBERS / 2) return false;
  refuse(`${ahead} messages are missing before one that came.`);
}

/**
 * The messages of a frame without their numbers, each made when it is asked for.
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
    if (kind === 'first') {
      const view = viewOf(message);
      view.setUint32(OFFSET.frameBytes, frame.length, true);
      view.setUint32(OFFSET.checksum, crc32(frame), true);
    }
    message.set(body, headBytes);
    sent += body.length;
    yield message;
  }
}

/** Puts messages together again. Memory grows with what has come, not with what is announced. */
export class FrameAssembly {
  #bodies: Uint8Array[] = [];
  #missingBytes = 0;
  #announcedChecksum = 0;
  #checksum = 0;

  /** Of a frame that has begun and not ended. */
  get heldBytes(): number {
    return this.#bodies.reduce((sum, { length }) => sum + length, 0);
  }

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
    if (message.length <= headBytes || message.length > MAX_MESSAGE_BYTES) {
      refuse(
        `A message of ${message.length} bytes is not between ${headBytes + 1} and ${MAX_MESSAGE_BYTES}.`,
      );
    }
    const view = viewOf(message);
    const head = view.getUint16(OFFSET.version, true);
    if (head !== (VERSION | (KIND[kind] << 8))) {
      refuse(`A message begins with ${head.toString(16)} where the ${kind} of a frame was to come.`);
    }
    if (kind === 'first') {
      this.#begin(view.getUint32(OFFSET.frameBytes, true), view.getUint32(OFFSET.checksum, true));
    }
    const body = message.subarray(headBytes);
    const expected = Math.min(this.#missingBytes, MAX_MESSAGE_BYTES - headBytes);
    if (body.length !== expected) {
      refuse(`A message brings ${body.length} bytes of its frame where ${expected} were to come.`);
    }
    this.#bodies.push(body);
    this.#missingBytes -= body.length;
    this.#checksum = crc32(body, this.#checksum);
    return this.isOpen ? null : this.#complete();
  }

  #begin(frameBytes: number, checksum: number): void {
    if (frameBytes === 0 || frameBytes > MAX_FRAME_BYTES) {
      refuse(`A frame of ${frameBytes} bytes is announced, and ${MAX_FRAME_BYTES} are allowed.`);
    }
    this.#missingBytes = frameBytes;
    this.#announcedChecksum = checksum;
    this.#checksum = 0;
  }

  #complete(): Uint8Array<ArrayBuffer> {
    if (this.#checksum !== this.#announcedChecksum) {
      refuse('A frame is not what was sent: its checksum differs. Something on the way damages data.');
    }
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

function viewOf(message: Uint8Array): DataView {
  return new DataView(message.buffer, message.byteOffset, message.byteLength);
}

function refuse(message: string): never {
  throw new SkeinError('bad-frame', message);
}
