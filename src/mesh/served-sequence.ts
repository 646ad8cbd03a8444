import { SkeinError } from '../protocol/errors.ts';
import type { PeerId } from '../protocol/ids.ts';
import {
  SEQUENCE_IDLE_TIMEOUT_MS,
  SEQUENCE_UNFED_TIMEOUT_MS,
  SUSPENDED_SEQUENCE_MS,
} from '../protocol/limits.ts';
import type { Clock } from './clock.ts';
import { IdleTimer } from './idle-timer.ts';
import type { StageRows, StageSequence } from './stage-sequence.ts';

/** Who was asked how far a request is, and has not said. */
interface Inquiry {
  readonly nonce: number;
  /** Indices of hops behind this one. */
  readonly awaited: Set<number>;
}

export interface ServedSequenceOptions {
  readonly sequence: StageSequence;
  /** Under what its blocks are kept and found. */
  readonly scope: string;
  readonly clock: Clock;
  /** Told why the request ends when nobody fed it, or asked after it, for a while. */
  readonly onIdle: (error: SkeinError) => void;
}

/** A request that is open at a stage: what waits for it, how far it is, and the time in which somebody must feed it. */
export class ServedSequence {
  readonly sequence: StageSequence;
  readonly scope: string;
  /** Rows that wait until the next hop can be reached and has what is sent again. Null from then on. */
  held: StageRows[] | null = [];
  /** Position after the last row whose output was handed on. */
  sentUpTo = 0;
  inquiry: Inquiry | null = null;
  /** Resolves with the starts of all hops; never, if the request ends before. */
  readonly begun: Promise<readonly number[]>;
  /** Whoever was lost with it; null for a request that failed for another reason, or runs. */
  lostPeer: PeerId | null = null;
  readonly #clock: Clock;
  readonly #onIdle: (error: SkeinError) => void;
  #idle: IdleTimer;
  #isFed = false;
  #begin: (starts: readonly number[]) => void = () => undefined;
  #cancelEnd: (() => void) | null = null;

  constructor({ sequence, scope, clock, onIdle }: ServedSequenceOptions) {
    this.sequence = sequence;
    this.scope = scope;
    this.#clock = clock;
    this.#onIdle = onIdle;
    this.#idle = this.#timer(SEQUENCE_UNFED_TIMEOUT_MS);
    this.begun = new Promise((resolve) => (this.#begin = resolve));
    if (sequence.starts !== null) this.begin(sequence.starts);
  }

  /** It failed, and what is here of it waits for a later epoch. */
  get isSuspended(): boolean {
    return this.#cancelEnd !== null;
  }

  begin(starts: readonly number[]): void {
    this.sentUpTo = starts[this.sequence.hopIndex] ?? 0;
    this.#begin(starts);
  }

  /** It was fed. */
  feed(): void {
    if (this.#isFed) this.#idle.touch();
    else {
      this.#isFed = true;
      this.#idle.stop();
      this.#idle = this.#timer(SEQUENCE_IDLE_TIMEOUT_MS);
    }
  }

  /** It was computed, or asked after. */
  touch(): void {
    this.#idle.touch();
  }

  /** @param onOver when no later epoch came for it in SUSPENDED_SEQUENCE_MS. */
  suspend(onOver: () => void): void {
    this.#idle.stop();
    this.held = null;
    this.#cancelEnd ??= this.#clock.after(SUSPENDED_SEQUENCE_MS, onOver);
  }

  /** Ends the waiting. Idempotent. */
  stop(): void {
    this.#idle.stop();
    this.#cancelEnd?.();
  }

  #timer(idleMs: number): IdleTimer {
    return new IdleTimer(this.#clock, idleMs, () => this.#onIdle(idleError(this.sequence, idleMs)));
  }
}

function idleError({ requestId }: StageSequence, idleMs: number): SkeinError {
  return new SkeinError(
    'timeout',
    `Request ${requestId} was not fed for ${idleMs / 1000} s and was closed. Ask for a new route.`,
  );
}
