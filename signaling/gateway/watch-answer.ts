import type { AnswerEvent } from '../../src/client/api/answer-events.ts';
import type { SkeinError } from '../../src/protocol/errors.ts';
import { SERVER_PATIENCE_MS } from './limits.ts';
import type { RequestRecord } from './request-record.ts';

type Progress = Extract<AnswerEvent, { type: 'progress' }>['progress'];

export interface WatchOptions {
  readonly record: RequestRecord;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
  /** How long a question waits for a model that is not whole. */
  readonly routeWaitMs: number;
  /** A place in line; 1 is next. */
  readonly onQueued: (position: number) => void;
  /** Seconds between two pieces of a choice. */
  readonly onGap: (seconds: number) => void;
}

/**
 * Passes on what becomes of a question, but for its progress, which it writes down. Nothing is passed on before the mesh has
 * something to say: until then what fails can be told by a status.
 * @throws SkeinError as the answer does, and `busy` or `no-route` where a person would wait and a program should be told.
 */
export async function* watchAnswer(
  events: AsyncIterable<AnswerEvent>,
  options: WatchOptions,
): AsyncGenerator<AnswerEvent, void, void> {
  const { record, now, onGap } = options;
  const progress = new ProgressWatch(options);
  const lastPieceMs = new Map<number, number>();
  let held: AnswerEvent[] = [];
  for await (const event of events) {
    if (event.type === 'progress') {
      progress.take(event.progress);
      continue;
    }
    if (event.type === 'prompt') {
      record.promptTokens = event.tokens;
      held.push(event);
      continue;
    }
    if (event.type === 'done') record.usage = event.usage;
    else if (event.type !== 'end') {
      const nowMs = now();
      record.firstPieceMs ??= nowMs;
      record.pieces += 1;
      const lastMs = lastPieceMs.get(event.choice);
      if (lastMs !== undefined) onGap((nowMs - lastMs) / 1000);
      lastPieceMs.set(event.choice, nowMs);
    }
    yield* held;
    held = [];
    yield event;
  }
}

/** Writes down how a question fares, and loses patience for it. */
class ProgressWatch {
  readonly #options: WatchOptions;
  #queuedSinceMs: number | null = null;
  #waitingSinceMs: number | null = null;

  constructor(options: WatchOptions) {
    this.#options = options;
  }

  take(progress: Progress): void {
    const { record, now, onQueued } = this.#options;
    switch (progress.type) {
      case 'queued':
        this.#queuedSinceMs ??= now();
        record.queuePosition ??= progress.position;
        onQueued(progress.position);
        break;
      case 'route':
        if (this.#queuedSinceMs !== null) record.queuedMs += now() - this.#queuedSinceMs;
        this.#queuedSinceMs = null;
        this.#waitingSinceMs = null;
        if (progress.reroute !== null) record.reroutes.push(progress.reroute.code);
        break;
      case 'waiting':
        // Half an answer is waited for as long as a person would.
        if (progress.reroute === null) this.#wait(progress.error, progress.delayMs);
        break;
      case 'resumed':
        break;
    }
  }

  /** @throws SkeinError the one that is waited out, where it lasts too long. */
  #wait(error: SkeinError, delayMs: number): void {
    const { now, routeWaitMs } = this.#options;
    this.#waitingSinceMs ??= now();
    const patienceMs =
      error.code === 'no-route' ? routeWaitMs : error.code === 'server-lost' ? SERVER_PATIENCE_MS : 0;
    if (now() - this.#waitingSinceMs + delayMs > patienceMs) throw error;
  }
}
