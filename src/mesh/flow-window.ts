import { SkeinError } from '../protocol/errors.ts';
import { FRAME_OVERHEAD_BYTES, LINK_WINDOW_BYTES, MAX_FRAME_BYTES } from '../protocol/limits.ts';

/** Told of what was handled in steps of this size, so that small frames cost no message each. */
const NOTICE_BYTES = LINK_WINDOW_BYTES / 4;
const U32 = 2 ** 32;

/** What a frame counts while it waits: small ones cost their receiver more than their bytes. */
export function frameCost(sizeBytes: number): number {
  return sizeBytes + FRAME_OVERHEAD_BYTES;
}

/** The sender's end: how much of what it sent the receiver has not handled yet. Totals count from the first frame, as u32. */
export class SendWindow {
  #sentTotal = 0;
  #handledTotal = 0;

  /** What was sent and is not known to be handled, as it counts. */
  get outstandingBytes(): number {
    return distance(this.#handledTotal, this.#sentTotal);
  }

  /** Whether another frame may begin. */
  get isOpen(): boolean {
    return this.outstandingBytes < LINK_WINDOW_BYTES;
  }

  /** A frame is sent. */
  spend(sizeBytes: number): void {
    this.#sentTotal = (this.#sentTotal + frameCost(sizeBytes)) % U32;
  }

  /** @throws SkeinError `bad-frame` for more than was sent, or less than was handled before. */
  hearHandled(total: number): void {
    const handled = distance(this.#handledTotal, total);
    if (handled > this.outstandingBytes) {
      throw new SkeinError(
        'bad-frame',
        `A receiver says that it handled ${handled} bytes where ${this.outstandingBytes} were on their way.`,
      );
    }
    this.#handledTotal = total;
  }
}

/** The receiver's end: what has come and waits to be handled is bounded, whether or not the sender keeps to it. */
export class ReceiveWindow {
  #waitingBytes = 0;
  #handledTotal = 0;
  #announcedTotal = 0;

  /** What has come and is not handled, as it counts. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** A frame has come. @throws SkeinError `bad-frame` where its sender was not allowed to begin it. */
  take(sizeBytes: number): void {
    this.#waitingBytes += frameCost(sizeBytes);
    const allowed = LINK_WINDOW_BYTES + frameCost(MAX_FRAME_BYTES);
    if (this.#waitingBytes > allowed) {
      throw new SkeinError(
        'bad-frame',
        `A peer sent more than it was allowed: ${this.#waitingBytes} bytes wait, and ${allowed} may.`,
      );
    }
  }

  /** @returns the total to tell the sender, or null while it can wait. */
  handled(sizeBytes: number): number | null {
    this.#waitingBytes -= frameCost(sizeBytes);
    this.#handledTotal = (this.#handledTotal + frameCost(sizeBytes)) % U32;
    if (distance(this.#announcedTotal, this.#handledTotal) < NOTICE_BYTES) return null;
    this.#announcedTotal = this.#handledTotal;
    return this.#handledTotal;
  }
}

/** How far a count that began again at 0 after 2³² has come. */
function distance(from: number, to: number): number {
  return (to - from + U32) % U32;
}
