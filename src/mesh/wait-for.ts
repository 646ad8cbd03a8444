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
 * A promise that `start` settles, or else the deadline or the signal. Settling twice is harmless.
 * @throws SkeinError `timeout`, `aborted`, or what `start` rejects with.
 */
export function waitFor<Value>(
  { clock, timeoutMs, what, signal }: WaitOptions,
  start: (resolve: (value: Value) => void, reject: (error: SkeinError) => void) => void,
): Promise<Value> {
  let release: () => void = () => undefined;
  const waiting = new Promise<Value>((resolve, reject) => {
    const abort = () => reject(new SkeinError('aborted', `${what}, and the wait was cancelled.`));
    const cancelDeadline = clock.after(timeoutMs, () =>
      reject(new SkeinError('timeout', `${what} in ${timeoutMs / 1000} s. Try again.`)),
    );
    release = () => {
      cancelDeadline();
      signal?.removeEventListener('abort', abort);
    };
    signal?.addEventListener('abort', abort);
    if (signal?.aborted) abort();
    else start(resolve, reject);
  });
  return waiting.finally(() => release());
}
