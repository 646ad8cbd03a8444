export type Verdict = 'ok' | 'warning' | 'problem';

/** One line of what a machine's owner is told. */
export interface Finding {
  readonly check: string;
  readonly verdict: Verdict;
  /** What was found, with values. */
  readonly found: string;
  /** What to do about it; absent where all is well. */
  readonly advice?: string;
}
