/** Lets through a burst, and then so many per second. */
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

  /** @returns whether one more may pass; a refused one costs nothing. */
  take(nowMs: number): boolean {
    const earned = ((nowMs - this.#updatedMs) / 1000) * this.perSecond;
    this.#tokens = Math.min(this.burst, this.#tokens + Math.max(0, earned));
    this.#updatedMs = nowMs;
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }
}
