import { SkeinError } from '../protocol/errors.ts';
import type { AnswerConstraint } from './answer-constraint.ts';

/** Who waits for a constraint. */
export interface GateListener {
  onReady(): void;
  onFailed(error: SkeinError): void;
}

/** The constraint of one answer, which takes its time: while it is not ready, nothing of its request is computed. */
export class ConstraintGate {
  readonly #listener: GateListener;
  #constraint: AnswerConstraint | null = null;
  #isReady = false;
  #isOver = false;

  /** @param compiling whose result belongs to the gate from here on. */
  constructor(compiling: Promise<AnswerConstraint>, listener: GateListener) {
    this.#listener = listener;
    void this.#waitFor(
      compiling.then((constraint) => {
        if (this.#isOver) constraint.dispose();
        else this.#constraint = constraint;
      }),
    );
  }

  get isReady(): boolean {
    return this.#isReady;
  }

  /** Of the next token; see AnswerConstraint. */
  get mask(): Uint32Array<ArrayBuffer> | null {
    return this.#constraint?.mask() ?? null;
  }

  /** Of a token that was sampled, and does not end the answer. */
  accept(tokenId: number): void {
    if (this.#constraint === null) return;
    this.#isReady = false;
    void this.#waitFor(this.#constraint.accept(tokenId));
  }

  /** Idempotent. */
  dispose(): void {
    this.#isOver = true;
    this.#isReady = false;
    this.#constraint?.dispose();
    this.#constraint = null;
  }

  async #waitFor(step: Promise<void>): Promise<void> {
    try {
      await step;
    } catch (thrown) {
      if (!this.#isOver) this.#listener.onFailed(SkeinError.from(thrown));
      return;
    }
    if (this.#isOver) return;
    this.#isReady = true;
    this.#listener.onReady();
  }
}
