/** Gaps that the median is taken of: a few seconds of a fast answer, and soon true of a slow one. */
const REMEMBERED_GAPS = 32;
/** Of fewer nothing is concluded. */
const LEAST_GAPS = 4;

/** How far apart the tokens of an answer come. */
export class TokenGaps {
  readonly #recentMs: number[] = [];
  #next = 0;

  add(gapMs: number): void {
    this.#recentMs[this.#next] = gapMs;
    this.#next = (this.#next + 1) % REMEMBERED_GAPS;
  }

  /** Of the recent ones; 0 before there are a few. */
  get medianMs(): number {
    if (this.#recentMs.length < LEAST_GAPS) return 0;
    const sorted = this.#recentMs.toSorted((a, b) => a - b);
    return sorted[Math.floor(sorted.length / 2)] ?? 0;
  }
}
