import { SkeinError } from '../protocol/errors.ts';
import type { Clock } from './clock.ts';

export interface WaitOptions {
  readonly clock: Clock;
  readonly timeoutMs: number;
  /** Begins the message of the timeout: "The server did not answer". */
  readonly what: string;
  readonly signal?: AbortSignal;
}

/**
 * A promise that `start` settles, or else the deadline or the signal. Settling twice is harmless. `restart` gives it the
 * whole time again, for waits in which there is news.
 * @throws SkeinError `timeout`, `aborted`, or what `start` rejects with.
 */
export function waitFor<Value>(
  { clock, timeoutMs, what, signal }: WaitOptions,
  start: (resolve: (value: Value) => void, reject: (error: SkeinError) => void, restart: () => void) => void,
): Promise<Value> {
  let release: () => void = () => undefined;
  const waiting = new Promise<Value>((resolve, reject) => {
    const abort = () => reject(new SkeinError('aborted', `${what}, and the wait was cancelled.`));
    const timeOut = () => reject(new SkeinError('timeout', `${what} in ${timeoutMs / 1000} s. Try again.`));
    let isOver = false;
    let cancelDeadline = clock.after(timeoutMs, timeOut);
    const restart = () => {
      if (isOver) return;
      cancelDeadline();
      cancelDeadline = clock.after(timeoutMs, timeOut);
    };
    release = () => {
      isOver = true;
      cancelDeadline();
      signal?.removeEventListener('abort', abort);
    };
    signal?.addEventListener('abort', abort);
    if (signal?.aborted) abort();
    else start(resolve, reject, restart);
  });
  return waiting.finally(() => release());
}
