/** Who waits exactly as long as it was told is not to find that a rounding is missing. */
const ROUNDING = 1e-6;

/**
 * So much per minute, and no more than a minute's at once. What is taken may be more than there is, because what an answer
 * takes is known when it is over: the debt is waited for.
 */
export class Allowance {
  #left: number;
  #updatedMs: number;

  constructor(
    readonly perMinute: number,
    nowMs: number,
  ) {
    this.#left = perMinute;
    this.#updatedMs = nowMs;
  }

  take(amount: number, nowMs: number): void {
    this.#earn(nowMs);
    this.#left -= amount;
  }

  /** Seconds until there is at least one; 0 where there is. */
  secondsUntilOne(nowMs: number): number {
    this.#earn(nowMs);
    return this.#left >= 1 - ROUNDING ? 0 : ((1 - this.#left) * 60) / this.perMinute;
  }

  /** Whether it is as it was made. */
  isFull(nowMs: number): boolean {
    this.#earn(nowMs);
    return this.#left === this.perMinute;
  }

  #earn(nowMs: number): void {
    const earned = (Math.max(0, nowMs - this.#updatedMs) / 60_000) * this.perMinute;
    this.#left = Math.min(this.perMinute, this.#left + earned);
    this.#updatedMs = nowMs;
  }
}
