import { SkeinError } from '../protocol/errors.ts';
import { SEQUENCE_IDLE_TIMEOUT_MS } from '../protocol/limits.ts';
import type { Clock } from './clock.ts';
import { IdleTimer } from './idle-timer.ts';
import type { StageRows, StageSequence } from './stage-sequence.ts';

/** A request that is open at a stage, and the time in which somebody must feed it. */
export class ServedSequence {
  /** Rows that wait until the next hop can be reached, so that no step ever waits for a dial. Null from then on. */
  held: StageRows[] | null = [];
  readonly #idle: IdleTimer;

  /** @param onIdle told why the request ends when nobody fed it for SEQUENCE_IDLE_TIMEOUT_MS. */
  constructor(
    readonly sequence: StageSequence,
    clock: Clock,
    onIdle: (error: SkeinError) => void,
  ) {
    this.#idle = new IdleTimer(clock, SEQUENCE_IDLE_TIMEOUT_MS, () => onIdle(idleError(sequence)));
  }

  /** It was fed, or computed. */
  touch(): void {
    this.#idle.touch();
  }

  /** Ends the waiting. Idempotent. */
  stop(): void {
    this.#idle.stop();
  }
}

function idleError({ requestId }: StageSequence): SkeinError {
  return new SkeinError(
    'timeout',
    `Request ${requestId} was not fed for ${SEQUENCE_IDLE_TIMEOUT_MS / 1000} s and was closed. Ask for a new route.`,
  );
}
