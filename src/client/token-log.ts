/**
 * The tokens of an answer so far: a value that never changes. Appending to the latest shares its memory, so an answer of any
 * length costs one copy at most.
 */
export class TokenLog {
  private constructor(
    /** May hold more than this log: what later ones appended. */
    private readonly shared: number[],
    readonly length: number,
  ) {}

  static empty(): TokenLog {
    return new TokenLog([], 0);
  }

  /** @returns the log with the token at its end. */
  with(tokenId: number): TokenLog {
    const { shared, length } = this;
    const isLatest = shared.length === length;
    const tokens = isLatest ? shared : shared.slice(0, length);
    tokens.push(tokenId);
    return new TokenLog(tokens, length + 1);
  }

  /** A copy. */
  get tokenIds(): number[] {
    return this.shared.slice(0, this.length);
  }
}
