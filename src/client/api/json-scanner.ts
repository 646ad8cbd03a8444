/** Follows one JSON object character by character: where it is, and where it ends. What is inside its strings is not looked at. */
export class JsonScanner {
  /** Brackets that are open, innermost last. */
  readonly #open: string[] = [];
  #inString = false;
  #isEscaped = false;
  #hasBegun = false;

  /** Brackets around the next character. */
  get depth(): number {
    return this.#open.length;
  }

  get isComplete(): boolean {
    return this.#hasBegun && this.#open.length === 0;
  }

  /** @returns false where the character cannot come here; it was not taken then. */
  push(character: string): boolean {
    if (this.#inString) {
      if (this.#isEscaped) this.#isEscaped = false;
      else if (character === '\\') this.#isEscaped = true;
      else if (character === '"') this.#inString = false;
      return true;
    }
    if (!this.#hasBegun) {
      if (character === '{') this.#begin();
      return character === '{' || isSpace(character);
    }
    switch (character) {
      case '{':
      case '[':
        this.#open.push(character);
        return true;
      case '}':
      case ']':
        if (this.#open.at(-1) !== (character === '}' ? '{' : '[')) return false;
        this.#open.pop();
        return true;
      case '"':
        this.#inString = true;
        return true;
      default:
        return /[\s\w,:.+-]/.test(character);
    }
  }

  #begin(): void {
    this.#hasBegun = true;
    this.#open.push('{');
  }
}

export function isSpace(character: string): boolean {
  return character === ' ' || character === '\n' || character === '\t' || character === '\r';
}
