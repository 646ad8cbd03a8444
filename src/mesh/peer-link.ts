import { SkeinError } from '../protocol/errors.ts';
import type { PeerId } from '../protocol/ids.ts';
import {
  DIAL_RETRY_MS,
  DIAL_TIMEOUT_MS,
  MAX_LINK_QUEUE_BYTES,
  MAX_SIGNALS_PER_DIAL,
} from '../protocol/limits.ts';
import type { Clock } from './clock.ts';
import { FrameChannel } from './frame-channel.ts';
import type { LinkFault, MessagePipe } from './frame-channel.ts';
import { closeAttempt, LinkOpening, newAttempt } from './link-attempt.ts';
import type { LinkAttempt } from './link-attempt.ts';
import type { LinkMeasurement } from './link-meter.ts';
import type { LinkSignal, RtcSignal } from './link-signal.ts';
import type { Connect } from './peer-connection.ts';
import { blame, peerError, peerLost } from './peer-errors.ts';

export interface PeerLinkOptions {
  readonly self: PeerId;
  readonly remote: PeerId;
  readonly connect: Connect;
  readonly clock: Clock;
  /** A new name for a dial. */
  readonly newAttempt: () => string;
  readonly sendSignal: (signal: LinkSignal) => void;
  /** See FrameChannelOptions. */
  readonly onFrame: (frame: Uint8Array<ArrayBuffer>) => Promise<unknown> | null;
  /** See FrameChannelOptions. */
  readonly onWaiting: () => void;
  /** The other end broke the rules of an open link, which ends right after. */
  readonly onFault: (fault: LinkFault, error: SkeinError) => void;
  /** The link was open and is not any more; frames may have been lost. The reason names the peer. */
  readonly onLost: (reason: SkeinError) => void;
  /** Nothing is open and nothing is being dialled; the link may be forgotten. */
  readonly onIdle: () => void;
  /** Finds out more about why a peer cannot be reached. */
  readonly explain: (error: SkeinError) => Promise<SkeinError>;
}

/**
 * The connection to one peer, dialled when somebody wants to send and again after it was lost. A dial that fails is repeated once.
 * There is no glare: the peer with the smaller id makes every offer, and the other asks it to.
 */
export class PeerLink {
  readonly #options: PeerLinkOptions;
  readonly #makesOffers: boolean;
  #attempt: LinkAttempt | null = null;
  /** Of the current attempt, and of those before it as long as none came to be open. */
  #opening: LinkOpening | null = null;
  #queuedBytes = 0;
  #lastUse: number;

  constructor(options: PeerLinkOptions) {
    this.#options = options;
    this.#makesOffers = options.self < options.remote;
    this.#lastUse = options.clock.now();
  }

  /** Milliseconds since a frame came or was to be sent. */
  get idleMs(): number {
    return this.#options.clock.now() - this.#lastUse;
  }

  /** The name of the dial that is under way or led to what is open. */
  get attempt(): string | null {
    return this.#attempt?.name ?? null;
  }

  /** See FrameChannel. */
  get waitingBytes(): number {
    return this.#attempt?.channel?.waitingBytes ?? 0;
  }

  /** What was measured of the way lately; null where that is nothing. */
  get measurement(): LinkMeasurement | null {
    return this.#attempt?.channel?.measurement ?? null;
  }

  /** Dials if need be, and measures the way. Never resolves where the other end is silent. @throws SkeinError as `send` does. */
  async probe(): Promise<void> {
    const channel = await (this.#opening ?? this.#dial()).channel;
    await channel.probe();
  }

  /**
   * @param frame not to be changed until the promise is done.
   * @throws SkeinError `busy` when too much waits for this link, `timeout` or `peer-lost` when it cannot be had or is lost.
   */
  async send(frame: Uint8Array<ArrayBuffer>): Promise<void> {
    const { remote } = this.#options;
    if (this.#queuedBytes + frame.length > MAX_LINK_QUEUE_BYTES) {
      throw peerError(
        'busy',
        remote,
        `is sent more than its link takes: ${this.#queuedBytes} bytes wait. Wait for sends before the next.`,
      );
    }
    this.#lastUse = this.#options.clock.now();
    this.#queuedBytes += frame.length;
    let channel: FrameChannel | null = null;
    try {
      // One promise before and after it opens, so that no send overtakes another.
      channel = await (this.#opening ?? this.#dial()).channel;
      await channel.send(frame);
    } catch (thrown) {
      const error = blame(remote, SkeinError.from(thrown, 'peer-lost'));
      throw channel ? error : await this.#options.explain(error);
    } finally {
      this.#queuedBytes -= frame.length;
    }
  }

  /** Somebody says that the other end is gone: an open link ends unless it is heard of soon. */
  suspect(): void {
    this.#attempt?.channel?.suspect(peerLost(this.#options.remote));
  }

  /** A signal from the other end, already validated. Whatever does not belong to the current attempt is dropped. */
  receive(signal: LinkSignal): void {
    switch (signal.kind) {
      case 'ask':
        // Whoever asks has no link: if this side still has one, it is a dead one.
        if (this.#makesOffers && signal.attempt !== this.#attempt?.name) this.#begin(signal.attempt, true);
        break;
      case 'rtc':
        this.#receiveRtc(signal.attempt, signal.signal);
        break;
      case 'refuse':
        if (signal.attempt === this.#attempt?.name && !this.#attempt.channel) {
          this.end(
            // No matter why: over this way nothing can go for a while, and another route has to be found.
            peerError('peer-lost', this.#options.remote, 'takes no link from here now. Ask for a new route.'),
          );
        }
        break;
    }
  }

  /** Drops what there is. Waiting sends fail with `error`; a link that was open is reported as lost. */
  end(error: SkeinError): void {
    const opening = this.#opening;
    const attempt = this.#attempt;
    this.#opening = null;
    this.#attempt = null;
    opening?.fail(error);
    if (attempt) closeAttempt(attempt, error);
    // In this order: whoever hears of the loss may send again at once, over a new link.
    this.#options.onIdle();
    if (attempt?.channel) this.#options.onLost(blame(this.#options.remote, error));
  }

  /** As `end`, unless the link is open: then somebody else's word that the peer is gone does not count. */
  giveUpDialling(error: SkeinError): void {
    if (!this.#attempt?.channel) this.end(error);
  }

  /** Signals of a dial under way may have been lost: it begins anew, within the time it had. */
  dialAgain(): void {
    const attempt = this.#attempt;
    if (!this.#opening || !attempt || attempt.channel || this.#queuedBytes === 0) return;
    closeAttempt(attempt, peerLost(this.#options.remote));
    this.#try();
  }

  #receiveRtc(attempt: string, signal: RtcSignal): void {
    if (signal.type === 'offer') {
      if (this.#makesOffers) return;
      const isAwaited = this.#attempt?.name === attempt;
      if (isAwaited && this.#attempt?.connection) return;
      this.#begin(attempt, false);
    }
    const current = this.#attempt;
    if (current?.name !== attempt || !current.connection) return;
    current.signalsHeard += 1;
    if (current.signalsHeard > MAX_SIGNALS_PER_DIAL) {
      this.end(
        peerError(
          'bad-message',
          this.#options.remote,
          `sent over ${MAX_SIGNALS_PER_DIAL} signals for one dial.`,
        ),
      );
      return;
    }
    if (signal.type !== 'candidate') {
      // One description from each side is a dial; a second would renegotiate, which a data channel never needs.
      if (current.hasDescription || (signal.type === 'offer') === this.#makesOffers) return;
      current.hasDescription = true;
    }
    current.connection.signal(signal);
  }

  #dial(): LinkOpening {
    const opening = this.#newOpening();
    this.#try();
    return opening;
  }

  #try(): void {
    const name = this.#options.newAttempt();
    if (this.#makesOffers) {
      this.#begin(name, true);
    } else {
      this.#attempt = newAttempt(name);
      this.#options.sendSignal({ kind: 'ask', attempt: name });
    }
  }

  /** Replaces whatever attempt there is. Sends that wait for one that never opened wait for this one, not a moment longer. */
  #begin(name: string, isInitiator: boolean): void {
    const older = this.#attempt;
    const attempt = newAttempt(name);
    this.#attempt = attempt;
    if (older) closeAttempt(older, peerLost(this.#options.remote));
    if (older?.channel || !this.#opening) this.#newOpening();
    const ifCurrent = (run: () => void) => {
      if (this.#attempt === attempt) run();
    };
    try {
      attempt.connection = this.#options.connect({
        isInitiator,
        onSignal: (signal) =>
          ifCurrent(() => this.#options.sendSignal({ kind: 'rtc', attempt: name, signal })),
        onOpen: (pipe) => ifCurrent(() => this.#open(attempt, pipe)),
        onClosed: (error) => ifCurrent(() => this.#connectionClosed(attempt, error)),
      });
    } catch (thrown) {
      this.end(SkeinError.from(thrown, 'no-route'));
    }
    if (older?.channel) this.#options.onLost(peerLost(this.#options.remote));
  }

  /** An open one is lost; one that was never open is tried once more, by those who want it. */
  #connectionClosed({ channel }: LinkAttempt, error: SkeinError): void {
    const opening = this.#opening;
    if (channel || !opening || opening.hasTriedAgain || this.#queuedBytes === 0) {
      this.end(blame(this.#options.remote, error));
      return;
    }
    opening.hasTriedAgain = true;
    this.dialAgain();
  }

  #open(attempt: LinkAttempt, pipe: MessagePipe): void {
    const { clock, onFrame, onWaiting, onFault, remote } = this.#options;
    const channel = new FrameChannel({
      pipe,
      clock,
      onFrame: (frame) => {
        this.#lastUse = clock.now();
        return onFrame(frame);
      },
      onWaiting,
      onBroken: (error, fault) => {
        if (fault !== 'gone') onFault(fault, blame(remote, error));
        // What broke a link was not used: nothing that the peer computed is in doubt, and it may not even be its fault.
        const what = `has lost its link: ${error.message}`;
        const reason =
          fault === 'broken' ? peerError('peer-lost', remote, what, error) : blame(remote, error);
        if (this.#attempt === attempt) this.end(reason);
      },
    });
    attempt.channel = channel;
    this.#opening?.succeed(channel);
  }

  #newOpening(): LinkOpening {
    const { clock, remote } = this.#options;
    const opening = new LinkOpening();
    this.#opening = opening;
    opening.addTimer(
      clock.after(DIAL_TIMEOUT_MS, () =>
        this.end(
          peerError(
            'timeout',
            remote,
            `could not be reached in ${DIAL_TIMEOUT_MS / 1000} s. Ask for a new route.`,
          ),
        ),
      ),
    );
    opening.addTimer(
      clock.after(DIAL_RETRY_MS, () => {
        if (opening.hasTriedAgain || this.#attempt?.signalsHeard !== 0) return;
        opening.hasTriedAgain = true;
        this.dialAgain();
      }),
    );
    return opening;
  }
}
