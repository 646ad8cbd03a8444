export interface InterruptDeps {
  readonly isAnswering: () => boolean;
  readonly stopAnswer: () => void;
  /** Nothing is under way: says how to end. */
  readonly warn: () => void;
  readonly end: () => void;
}

/** What Ctrl-C does in a chat: it stops an answer; pressed again before the next question, or twice in between, it ends the chat. */
export class Interrupts {
  readonly #deps: InterruptDeps;
  #wasPressed = false;

  constructor(deps: InterruptDeps) {
    this.#deps = deps;
  }

  press(): void {
    if (this.#wasPressed) {
      this.#deps.end();
      return;
    }
    this.#wasPressed = true;
    if (this.#deps.isAnswering()) this.#deps.stopAnswer();
    else this.#deps.warn();
  }

  /** The person wrote something. */
  forget(): void {
    this.#wasPressed = false;
  }
}
