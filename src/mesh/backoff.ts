const FIRST_DELAY_MS = 500;
/** A server that is restarted is back in seconds, and who asked a moment too early is to be no further away than this. */
const FREQUENT_DELAY_MS = 3_000;
/** So many pauses of at least half of that are the first two minutes, and more. */
const FREQUENT_ATTEMPTS = 84;
const LONGEST_DELAY_MS = 30_000;

/**
 * How long to wait before connecting again: doubling, held at a few seconds for two minutes, and half of it random, so that
 * the tabs of a restarted server do not all come back in the same instant.
 * @param attempt failures in a row, ≥ 1. @param random in [0, 1).
 */
export function retryDelayMs(attempt: number, random: number): number {
  const rareAttempts = Math.max(attempt - FREQUENT_ATTEMPTS, 0);
  const mostMs = Math.min(FREQUENT_DELAY_MS * 2 ** rareAttempts, LONGEST_DELAY_MS);
  const fullMs = Math.min(FIRST_DELAY_MS * 2 ** (attempt - 1), mostMs);
  return fullMs / 2 + (fullMs / 2) * random;
}
