/** Lets through a burst, and then so many per second. Fractions count, so that no time is lost between two looks. */
export class TokenBucket {
  #tokens: number;
  #updatedMs: number;

  constructor(
    readonly burst: number,
    readonly perSecond: number,
    nowMs: number,
  ) {
    this.#tokens = burst;
    this.#updatedMs = nowMs;
  }

  /** @returns whether one more, or one that counts as `cost`, may pass; a refused one costs nothing. */
  take(nowMs: number, cost = 1): boolean {
    this.#earn(nowMs);
    if (this.#tokens < cost) return false;
    this.#tokens -= cost;
    return true;
  }

  /** Whether it is as it was made: nothing passed for a while. */
  isFull(nowMs: number): boolean {
    this.#earn(nowMs);
    return this.#tokens === this.burst;
  }

  #earn(nowMs: number): void {
    const earned = ((nowMs - this.#updatedMs) * this.perSecond) / 1000;
    this.#tokens = Math.min(this.burst, this.#tokens + Math.max(0, earned));
    this.#updatedMs = nowMs;
  }
}
