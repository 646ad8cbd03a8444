import { LINK_PING_AFTER_MS, LINK_SILENCE_MS } from '../protocol/limits.ts';
import type { Clock } from './clock.ts';

/** A look that comes later than this says that this side stood still, and what came meanwhile still waits to be heard. */
const LATE_MS = 500;

export interface HeartbeatOptions {
  readonly clock: Clock;
  /** Says something that the other end answers. */
  readonly knock: () => void;
  /** Once: nothing was heard for LINK_SILENCE_MS. */
  readonly onSilent: () => void;
}

/**
 * Watches that the other end of a link says something. Each end speaks once a second, even where it only listens: the answers to
 * pings may wait behind a full queue, which is no silence.
 */
export class Heartbeat {
  readonly #options: HeartbeatOptions;
  #heardAtMs: number;
  #spokeAtMs: number;
  #dueAtMs = 0;
  #wasLate = false;
  #cancel: () => void = () => undefined;

  constructor(options: HeartbeatOptions) {
    this.#options = options;
    this.#heardAtMs = this.#spokeAtMs = options.clock.now();
    this.#lookAfter(LINK_PING_AFTER_MS);
  }

  /** Anything came. */
  heard(): void {
    this.#heardAtMs = this.#options.clock.now();
  }

  /** Anything was said, but for knocks. */
  spoke(): void {
    this.#spokeAtMs = this.#options.clock.now();
  }

  /** Idempotent. */
  stop(): void {
    this.#cancel();
  }

  #look(): void {
    const { clock, knock, onSilent } = this.#options;
    const nowMs = clock.now();
    this.#forgiveOwnPause(nowMs);
    const silentMs = nowMs - this.#heardAtMs;
    if (silentMs >= LINK_SILENCE_MS) {
      onSilent();
      return;
    }
    if (silentMs >= LINK_PING_AFTER_MS || nowMs - this.#spokeAtMs >= LINK_PING_AFTER_MS) {
      this.#spokeAtMs = nowMs;
      knock();
    }
    const untilPingMs = LINK_PING_AFTER_MS - silentMs;
    this.#lookAfter(untilPingMs > 0 ? untilPingMs : Math.min(LINK_PING_AFTER_MS, LINK_SILENCE_MS - silentMs));
  }

  /** The other end gets one more second, once: a side that is always late must not wait for ever. */
  #forgiveOwnPause(nowMs: number): void {
    const isLate = nowMs - this.#dueAtMs > LATE_MS;
    if (isLate && !this.#wasLate) {
      this.#heardAtMs = Math.max(this.#heardAtMs, nowMs - LINK_SILENCE_MS + LINK_PING_AFTER_MS);
    }
    this.#wasLate = isLate;
  }

  #lookAfter(delayMs: number): void {
    const { clock } = this.#options;
    this.#dueAtMs = clock.now() + delayMs;
    this.#cancel = clock.after(delayMs, () => this.#look());
  }
}
