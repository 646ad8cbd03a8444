import type { AnswerReader } from './generation.ts';
import type { StreamDecoder, Tokenizer } from '../tokenizer/tokenizer.ts';

/** The text of an answer while its tokens arrive: whole characters only, cut before the first stop string. */
export class AnswerText implements AnswerReader {
  readonly #decoder: StreamDecoder;
  readonly #stopStrings: readonly string[];
  #text = '';
  /** How much of `#text` was handed out. */
  #shownLength = 0;
  #stopped = false;

  constructor(tokenizer: Pick<Tokenizer, 'streamDecoder'>, stopStrings: readonly string[]) {
    this.#decoder = tokenizer.streamDecoder();
    this.#stopStrings = stopStrings.filter((stop) => stop !== '');
  }

  /** True once a stop string came; everything after it is ignored. */
  get stopped(): boolean {
    return this.#stopped;
  }

  /** The text so far, without the stop string. */
  get text(): string {
    return this.#text;
  }

  /** @returns the text that can be shown now: nothing that may still turn out to begin a stop string. */
  push(tokenId: number): string {
    return this.#append(this.#decoder.push(tokenId));
  }

  /** Ends the answer. @returns what was held back. */
  flush(): string {
    return this.#append(this.#decoder.flush()) + this.#show(this.#text.length);
  }

  #append(piece: string): string {
    if (this.#stopped) return '';
    this.#text += piece;
    const stops = this.#stopStrings.map((stop) => this.#text.indexOf(stop)).filter((index) => index >= 0);
    if (stops.length > 0) {
      this.#stopped = true;
      this.#text = this.#text.slice(0, Math.min(...stops));
      return this.#show(this.#text.length);
    }
    return this.#show(this.#text.length - this.#heldBackLength());
  }

  /** Length of the longest end of the text that begins a stop string. */
  #heldBackLength(): number {
    const lengths = this.#stopStrings.map((stop) => {
      for (let length = Math.min(stop.length - 1, this.#text.length); length > 0; length--) {
        if (this.#text.endsWith(stop.slice(0, length))) return length;
      }
      return 0;
    });
    return Math.max(0, ...lengths);
  }

  #show(end: number): string {
    const piece = this.#text.slice(this.#shownLength, end);
    this.#shownLength = Math.max(this.#shownLength, end);
    return piece;
  }
}
