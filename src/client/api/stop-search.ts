/** A character of a model's output, and how many came before it. */
export interface OutputCharacter {
  readonly character: string;
  readonly at: number;
}

/**
 * Looks for stop strings in a text that comes character by character. The first that is complete counts; of several that end
 * together, the longest.
 */
export class StopSearch {
  /** The end of the text, which may begin a stop string. */
  #held: OutputCharacter[] = [];
  #heldText = '';
  #found: string | null = null;

  constructor(private readonly stopStrings: readonly string[]) {}

  /** The stop string that came. */
  get found(): string | null {
    return this.#found;
  }

  /** @returns what is certainly no part of a stop string. Nothing once one was found. */
  push(next: OutputCharacter): readonly OutputCharacter[] {
    if (this.#found !== null) return [];
    this.#held.push(next);
    this.#heldText += next.character;
    const complete = this.stopStrings.filter((stop) => this.#heldText.endsWith(stop));
    const [longest] = complete.sort((one, other) => other.length - one.length);
    if (longest === undefined) return this.#release(this.#held.length - this.#begunLength());
    this.#found = longest;
    const before = this.#release(this.#held.length - longest.length);
    this.#release(this.#held.length);
    return before;
  }

  /** @returns what was held back, because the text ends here, or something comes between. */
  flush(): readonly OutputCharacter[] {
    return this.#release(this.#held.length);
  }

  /** Of the longest end that begins a stop string. */
  #begunLength(): number {
    for (let length = this.#heldText.length; length > 0; length--) {
      const end = this.#heldText.slice(-length);
      if (this.stopStrings.some((stop) => stop.startsWith(end))) return length;
    }
    return 0;
  }

  #release(count: number): readonly OutputCharacter[] {
    this.#heldText = this.#heldText.slice(count);
    return this.#held.splice(0, count);
  }
}
