import { SkeinError } from '../protocol/errors.ts';
import type { TokenLogProbability } from '../protocol/sampling.ts';
import type { OpenRequest } from '../protocol/stage.ts';

/** A token of the answer. */
export interface RouteToken {
  readonly tokenId: number;
  /** Under the model's unmodified distribution. */
  readonly logProbability: number;
  /** As many as the request asked for, but for tokens of no probability; most probable first. */
  readonly topLogProbabilities: readonly TokenLogProbability[];
  /** In the sequence: the first token of the answer comes right after the prompt. */
  readonly position: number;
}

/** The tokens of one answer between arriving and being taken: in order, each once, complete or with a reason why not. */
export class TokenInbox {
  readonly #waiting: RouteToken[] = [];
  readonly #endPosition: number;
  readonly #stopTokenIds: readonly number[];
  #nextPosition: number;
  #isComplete = false;
  #error: SkeinError | null = null;
  #wake: () => void = () => undefined;

  constructor({ promptTokens, maxTokens, stopTokenIds }: OpenRequest) {
    this.#nextPosition = promptTokens;
    this.#endPosition = promptTokens + maxTokens;
    this.#stopTokenIds = stopTokenIds;
  }

  /** Nothing that arrives from now on changes the answer. */
  get isOver(): boolean {
    return this.#isComplete || this.#error !== null;
  }

  /** @returns whether it is the next token of the answer. */
  push({ tokenId, logProbability, topLogProbabilities, position }: RouteToken): boolean {
    if (this.isOver || position < this.#nextPosition) return false;
    if (position > this.#nextPosition) {
      this.fail(
        new SkeinError(
          'bad-frame',
          `The token at position ${position} came where ${this.#nextPosition} was next. Ask for a new route.`,
          { data: { position, expected: this.#nextPosition } },
        ),
      );
      return false;
    }
    this.#nextPosition += 1;
    this.#isComplete = this.#nextPosition === this.#endPosition || this.#stopTokenIds.includes(tokenId);
    this.#waiting.push({ tokenId, logProbability, topLogProbabilities, position });
    this.#wake();
    return true;
  }

  /** The first failure counts; after the last token none does. Tokens that came before are still given out. */
  fail(error: SkeinError): void {
    if (this.isOver) return;
    this.#error = error;
    this.#wake();
  }

  /** Like `fail`, at once: tokens that nobody took are forgotten. */
  abort(error: SkeinError): void {
    this.#waiting.length = 0;
    this.#isComplete = false;
    this.#error = error;
    this.#wake();
  }

  /** @throws SkeinError what `fail` or `abort` was given. */
  async *drain(): AsyncGenerator<RouteToken, void, void> {
    for (;;) {
      const token = this.#waiting.shift();
      if (token) yield token;
      else if (this.#isComplete) return;
      else if (this.#error) throw this.#error;
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}
