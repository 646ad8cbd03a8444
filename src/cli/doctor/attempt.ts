import { SkeinError } from '../../protocol/errors.ts';
import type { Outcome } from './facts.ts';

/**
 * Tries something for a bounded time. Never rejects.
 * @param what begins the sentence about its taking too long.
 */
export async function attempt<Facts>(
  what: string,
  timeoutMs: number,
  work: (signal: AbortSignal) => Promise<Facts>,
): Promise<Outcome<Facts>> {
  const over = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new SkeinError('timeout', `${what} gave no answer within ${timeoutMs / 1000} s.`));
      over.abort();
    }, timeoutMs);
  });
  try {
    return { isOk: true, facts: await Promise.race([work(over.signal), late]) };
  } catch (thrown) {
    return { isOk: false, message: wordsOf(thrown) };
  } finally {
    clearTimeout(timer);
    over.abort();
  }
}

/** `fetch` says only that it failed, and why in its cause. */
function wordsOf(thrown: unknown): string {
  const cause = thrown instanceof Error && !(thrown instanceof SkeinError) ? thrown.cause : undefined;
  if (cause instanceof Error) return 'code' in cause ? cause.message || String(cause.code) : cause.message;
  return SkeinError.from(thrown).message;
}
