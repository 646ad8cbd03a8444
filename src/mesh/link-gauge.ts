import {
  MAX_PONG_BURST,
  PING_INTERVAL_MS,
  PONG_REFILL_MS,
  PONG_TIMEOUT_MS,
  SEND_HIGH_WATER_BYTES,
} from '../protocol/limits.ts';
import { TokenBucket } from '../protocol/token-bucket.ts';
import type { Clock } from './clock.ts';
import type { EchoMessage } from './framing.ts';
import { LinkMeter } from './link-meter.ts';
import type { LinkMeasurement } from './link-meter.ts';

/** Smaller frames arrive too soon for their time to tell a rate. */
const MIN_RATED_FRAME_BYTES = 64 * 1024;

export interface LinkGaugeOptions {
  readonly clock: Clock;
  readonly newNonce: () => number;
  readonly send: (echo: EchoMessage) => void;
  /** Bytes that wait on this side to be sent. */
  readonly queuedBytes: () => number;
}

/** The one ping that is not answered yet. */
interface Ping {
  readonly nonce: number;
  readonly sentAtMs: number;
  /** When what it measures began: itself, or the frame before it. */
  readonly beganAtMs: number;
  /** Of the frame right before it, when that is to be timed; else 0. */
  readonly frameBytes: number;
}

/**
 * Measures one link while it is used: a ping on an empty queue for the round trip, and in turn with it a ping right behind a large frame
 * for the rate. Nonces cannot be guessed, so that the other end can make the way look slower than it is and never faster; one ping is out
 * at a time, and pongs are rationed.
 */
export class LinkGauge {
  readonly #options: LinkGaugeOptions;
  readonly #meter = new LinkMeter();
  #waiting: (() => void)[] = [];
  #ping: Ping | null = null;
  /** The frame being sent, when a ping is to follow it. */
  #timedFrame: { readonly sizeBytes: number; readonly beganAtMs: number } | null = null;
  #lastPingAtMs = -Infinity;
  #timesFrameNext = false;
  readonly #pongs: TokenBucket;

  constructor(options: LinkGaugeOptions) {
    this.#options = options;
    this.#pongs = new TokenBucket(MAX_PONG_BURST, 1000 / PONG_REFILL_MS, options.clock.now());
  }

  get measurement(): LinkMeasurement | null {
    return this.#meter.measurement(this.#options.clock.now());
  }

  /** To be called before the first message of a frame. */
  frameBegins(sizeBytes: number): void {
    const nowMs = this.#options.clock.now();
    if (nowMs - this.#lastPingAtMs < PING_INTERVAL_MS || !this.#mayPing(nowMs)) return;
    if (this.#timesFrameNext && sizeBytes >= MIN_RATED_FRAME_BYTES) {
      this.#timedFrame = { sizeBytes, beganAtMs: nowMs };
    } else {
      this.#sendPing(nowMs, 0);
    }
  }

  /** To be called after the last message of a frame. */
  frameEnded(): void {
    const frame = this.#timedFrame;
    this.#timedFrame = null;
    if (frame) this.#sendPing(frame.beganAtMs, frame.sizeBytes);
  }

  /** Resolves with the next pong, or with `end`. While frames are on their way it measures nothing: those are measured themselves. */
  probe(): Promise<void> {
    const nowMs = this.#options.clock.now();
    if (this.#mayPing(nowMs)) this.#sendPing(nowMs, 0);
    else if (!this.#awaitsPong(nowMs)) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Asks for a sign of life, whatever is queued; measures nothing. */
  knock(): void {
    this.#options.send({ kind: 'ping', nonce: this.#options.newNonce() });
  }

  receive({ kind, nonce }: EchoMessage): void {
    if (kind === 'ping') this.#answer(nonce);
    else this.#hearPong(nonce);
  }

  end(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  /** A ping behind other bytes, or behind another ping, would measure those. */
  #mayPing(nowMs: number): boolean {
    return this.#options.queuedBytes() === 0 && !this.#timedFrame && !this.#awaitsPong(nowMs);
  }

  #awaitsPong(nowMs: number): boolean {
    return this.#ping !== null && nowMs - this.#ping.sentAtMs < PONG_TIMEOUT_MS;
  }

  #sendPing(beganAtMs: number, frameBytes: number): void {
    const sentAtMs = this.#options.clock.now();
    const nonce = this.#options.newNonce();
    this.#ping = { nonce, sentAtMs, beganAtMs, frameBytes };
    this.#lastPingAtMs = sentAtMs;
    this.#timesFrameNext = frameBytes === 0;
    this.#options.send({ kind: 'ping', nonce });
  }

  #hearPong(nonce: number): void {
    const ping = this.#ping;
    if (ping?.nonce !== nonce) return;
    this.#ping = null;
    const nowMs = this.#options.clock.now();
    const seconds = (nowMs - ping.beganAtMs) / 1000;
    if (ping.frameBytes > 0) this.#meter.addTransfer(ping.frameBytes, seconds, nowMs);
    else this.#meter.addRoundTrip(seconds, nowMs);
    this.end();
  }

  #answer(nonce: number): void {
    // Who does not read what it is sent gets no more of it.
    if (this.#options.queuedBytes() > SEND_HIGH_WATER_BYTES) return;
    if (!this.#pongs.take(this.#options.clock.now())) return;
    this.#options.send({ kind: 'pong', nonce });
  }
}
