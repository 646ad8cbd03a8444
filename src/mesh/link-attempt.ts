import type { SkeinError } from '../protocol/errors.ts';
import type { FrameChannel } from './frame-channel.ts';
import type { PeerConnection } from './peer-connection.ts';

/** One try to connect. Callbacks of an attempt that is not the link's current one are dropped by identity. */
export interface LinkAttempt {
  readonly name: string;
  /** Null while the other side, having been asked, has not made its offer. */
  connection: PeerConnection | null;
  /** Null until it is open. */
  channel: FrameChannel | null;
  signalsHeard: number;
  hasDescription: boolean;
}

export function newAttempt(name: string): LinkAttempt {
  return { name, connection: null, channel: null, signalsHeard: 0, hasDescription: false };
}

export function closeAttempt(attempt: LinkAttempt, error: SkeinError): void {
  attempt.channel?.finish(error);
  attempt.connection?.close();
}

/** The channel as those see it who want to send: soon, now, or never. It may take more than one attempt. */
export class LinkOpening {
  readonly channel: Promise<FrameChannel>;
  /** Whether another attempt was made after one that failed or that nobody answered. */
  hasTriedAgain = false;
  #resolve: (channel: FrameChannel) => void = () => undefined;
  #reject: (error: SkeinError) => void = () => undefined;
  readonly #cancels: (() => void)[] = [];

  constructor() {
    this.channel = new Promise<FrameChannel>((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // A dial that only the other side wanted may fail without anybody waiting here.
    this.channel.catch(() => undefined);
  }

  /** Timers that end with the opening. */
  addTimer(cancel: () => void): void {
    this.#cancels.push(cancel);
  }

  succeed(channel: FrameChannel): void {
    this.#stopTimers();
    this.#resolve(channel);
  }

  fail(error: SkeinError): void {
    this.#stopTimers();
    this.#reject(error);
  }

  #stopTimers(): void {
    for (const cancel of this.#cancels.splice(0)) cancel();
  }
}
