/** Counts what happens inside the window that is measured. */
export class Meter {
  /** Tokens that requesters got, each counted once. */
  tokens = 0;
  /** Rows computed on some hop, and those of them that had been computed before. */
  rows = 0;
  rowsAgain = 0;
  steps = 0;
  preemptions = 0;

  constructor(
    readonly windowStart: number,
    readonly windowEnd: number,
  ) {}

  isOpen(nowSeconds: number): boolean {
    return nowSeconds >= this.windowStart && nowSeconds < this.windowEnd;
  }

  /** The part of [start, end) that lies in the window, in seconds. */
  overlap(start: number, end: number): number {
    return Math.max(0, Math.min(end, this.windowEnd) - Math.max(start, this.windowStart));
  }
}
