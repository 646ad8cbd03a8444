import { SkeinError } from '../protocol/errors.ts';

/** @throws SkeinError `aborted`, or `timeout` when a deadline ended it. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw abortError(signal);
}

/**
 * Waits for work that cannot itself be cancelled, but no longer than the signal allows.
 * @throws SkeinError `aborted` or `timeout`; the work goes on unobserved.
 */
export async function untilAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return work;
  throwIfAborted(signal);
  let stopListening = (): void => undefined;
  const aborted = new Promise<never>((_, reject) => {
    const onAbort = (): void => reject(abortError(signal));
    signal.addEventListener('abort', onAbort, { once: true });
    stopListening = () => signal.removeEventListener('abort', onAbort);
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    stopListening();
  }
}

function abortError(signal: AbortSignal): SkeinError {
  const reason: unknown = signal.reason;
  if (reason instanceof Error && reason.name === 'TimeoutError') {
    return new SkeinError('timeout', 'Reading the model took longer than allowed.', { cause: reason });
  }
  return SkeinError.from(reason, 'aborted');
}
