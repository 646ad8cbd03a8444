const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 30_000;

/**
 * How long to wait before connecting again: doubling, and half of it random, so that the tabs of a restarted server
 * do not all come back in the same instant.
 * @param attempt failures in a row, ≥ 1. @param random in [0, 1).
 */
export function retryDelayMs(attempt: number, random: number): number {
  const fullMs = Math.min(FIRST_DELAY_MS * 2 ** (attempt - 1), LONGEST_DELAY_MS);
  return fullMs / 2 + (fullMs / 2) * random;
}
