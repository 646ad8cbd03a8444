import { SkeinError } from '../protocol/errors.ts';

/** What a deadline needs of the world. */
export interface DeadlineDeps {
  /** Milliseconds, monotonic. */
  readonly now: () => number;
  /** Resolves after the time, rejects on abort. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

/** The end of somebody's patience, from its making on: a signal for every wait, and what is left for the next step. */
export class Deadline {
  /** Fires when the time is up, or when the caller's own signal does. */
  readonly signal: AbortSignal;
  readonly #endsAt: number;
  readonly #isUp = new AbortController();
  readonly #stopped = new AbortController();

  /** @param timeLimitMs whole milliseconds, at least 1. */
  constructor(
    private readonly timeLimitMs: number,
    private readonly callerSignal: AbortSignal,
    private readonly deps: DeadlineDeps,
  ) {
    this.#endsAt = deps.now() + timeLimitMs;
    this.signal = AbortSignal.any([callerSignal, this.#isUp.signal]);
    const cancelled = AbortSignal.any([callerSignal, this.#stopped.signal]);
    deps.sleep(timeLimitMs, cancelled).then(
      () => this.#isUp.abort(this.error),
      // Stopped: nobody waits for it any more.
      () => undefined,
    );
  }

  /** Whole milliseconds, at least 1: the least a request may ask for. */
  get remainingMs(): number {
    return Math.max(1, Math.ceil(this.#endsAt - this.deps.now()));
  }

  /** Whether the time is up, and not the caller who stopped. */
  get hasPassed(): boolean {
    if (this.callerSignal.aborted) return false;
    return this.#isUp.signal.aborted || this.deps.now() >= this.#endsAt;
  }

  get error(): SkeinError {
    const { timeLimitMs } = this;
    return new SkeinError(
      'timeout',
      `The answer was not complete after ${timeLimitMs / 1000} s. Ask for fewer tokens, or allow more time.`,
      { data: { timeLimitMs } },
    );
  }

  /** Idempotent. */
  stop(): void {
    this.#stopped.abort();
  }
}
