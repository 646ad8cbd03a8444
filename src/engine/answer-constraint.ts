/** What the answer to one request has to keep to, at the stage that samples it. One token after the other. */
export interface AnswerConstraint {
  /**
   * Tokens that may come next: u32 [vocab / 32], rounded up, with a bit for each, and at least one set; null where anything may.
   * Valid until the next `accept`.
   */
  mask(): Uint32Array<ArrayBuffer> | null;
  /**
   * Goes on to the token after this one; nothing is sampled until it is done.
   * @throws SkeinError `bad-argument` when the constraint leaves no token to go on with.
   */
  accept(tokenId: number): Promise<void>;
  /** Idempotent. What is waited for is rejected with `aborted`. */
  dispose(): void;
}

export interface ConstraintQuestion {
  /** Of xgrammar, as JSON text. */
  readonly structuralTag: string;
  /** Tokens that end the answer, where the constraint lets it end. */
  readonly stopTokenIds: readonly number[];
  /** What was sampled before, in order. */
  readonly answer: readonly number[];
}

/**
 * Makes a constraint ready for the next token.
 * @throws SkeinError `bad-argument` for a structural tag that no grammar can be made of in bounded time, and for an answer that does
 * not keep to it; `busy` when too many wait; what reading the model's tokenizer throws.
 */
export type ConstraintCompiler = (question: ConstraintQuestion) => Promise<AnswerConstraint>;
