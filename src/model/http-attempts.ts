import { SkeinError } from '../protocol/errors.ts';
import { throwIfAborted } from './abort.ts';

/** Pauses before the second, third, … attempt. A hub that throttles or a train in a tunnel is back within seconds. */
const RETRY_PAUSES_MS = [250, 1000, 4000];
/** A connection that brings no byte for this long is dead; a slow one that brings some is not. */
const IDLE_TIMEOUT_MS = 30_000;

/** What attempts need of the world; injected so that tests need neither a network nor patience. */
export interface HttpEnvironment {
  readonly fetch: typeof fetch;
  readonly pause: (ms: number, signal: AbortSignal | undefined) => Promise<void>;
  readonly idleTimeoutMs: number;
}

export const BROWSER_OR_NODE: HttpEnvironment = {
  fetch: (...request) => fetch(...request),
  pause: pauseOnClock,
  idleTimeoutMs: IDLE_TIMEOUT_MS,
};

/** One try at a request. */
export interface Attempt {
  /** Ends when the caller gives up or the connection is dead. */
  readonly signal: AbortSignal;
  /** Bytes came: the connection lives. */
  readonly alive: () => void;
}

/**
 * Tries a few times, with growing pauses. A SkeinError out of an attempt is the server's last word; anything else is the network.
 * @param file how messages call what is asked for.
 * @throws SkeinError `model-missing` when no attempt came through, `aborted`, or what an attempt threw.
 */
export async function withAttempts<T>(
  { pause, idleTimeoutMs }: HttpEnvironment,
  file: string,
  signal: AbortSignal | undefined,
  attempt: (attempt: Attempt) => Promise<T>,
): Promise<T> {
  for (let failures = 1; ; failures++) {
    throwIfAborted(signal);
    const watch = new IdleWatch(idleTimeoutMs, signal);
    try {
      return await attempt(watch);
    } catch (thrown) {
      throwIfAborted(signal);
      if (thrown instanceof SkeinError) throw thrown;
      const pauseMs = RETRY_PAUSES_MS[failures - 1];
      if (pauseMs === undefined) throw unreachable(file, failures, thrown);
      await pause(pauseMs, signal);
    } finally {
      watch.stop();
    }
  }
}

class IdleWatch implements Attempt {
  readonly signal: AbortSignal;
  readonly #controller = new AbortController();
  readonly #timeoutMs: number;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(timeoutMs: number, signal: AbortSignal | undefined) {
    this.#timeoutMs = timeoutMs;
    this.signal = signal ? AbortSignal.any([signal, this.#controller.signal]) : this.#controller.signal;
    this.alive();
  }

  readonly alive = (): void => {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(
      () => this.#controller.abort(new Error(`no byte came for ${this.#timeoutMs} ms`)),
      this.#timeoutMs,
    );
  };

  stop(): void {
    clearTimeout(this.#timer);
  }
}

function unreachable(file: string, attempts: number, cause: unknown): SkeinError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new SkeinError(
    'model-missing',
    `${file} cannot be read after ${attempts} attempts: ${reason}. Check the address and the connection.`,
    { data: { file, attempts }, cause },
  );
}

async function pauseOnClock(ms: number, signal: AbortSignal | undefined): Promise<void> {
  await new Promise<void>((resolve) => {
    const finish = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', finish);
      resolve();
    };
    const timer = setTimeout(finish, ms);
    signal?.addEventListener('abort', finish, { once: true });
  });
  throwIfAborted(signal);
}
