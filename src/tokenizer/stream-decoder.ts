/** Decoding starts over from this many tokens back, so that a long answer costs the same per token as a short one. */
const CONTEXT_TOKENS = 8;
/** How long the window may grow before it is cut back. */
const MAX_WINDOW_TOKENS = 32;

const REPLACEMENT_CHARACTER = '\uFFFD';

/** What turns the tokens of an answer into text, one after the other. */
export interface StreamDecoder {
  /** @returns the text that became certain with this token; often empty, when a character spans tokens. */
  push(id: number): string;
  /** @returns what was held back. Call it once, after the last token. */
  flush(): string;
}

/**
 * Decodes a window of the last tokens each time and hands out what is new. A character cut by the end of the window decodes to one
 * U+FFFD; that last one is held back until the next token completes it or proves it broken. Everything handed out, joined,
 * is the text that decoding all tokens at once gives.
 */
export class WindowedStreamDecoder implements StreamDecoder {
  #window: number[] = [];
  /** Characters of the window's text that were handed out. */
  #emittedLength = 0;

  /**
   * @param decode text of some tokens; may strip space before the first, as SentencePiece models do.
   * @param isVisible whether a token has any text at all.
   */
  constructor(
    private readonly decode: (ids: readonly number[]) => string,
    private readonly isVisible: (id: number) => boolean,
  ) {}

  push(id: number): string {
    if (!this.isVisible(id)) return '';
    this.#window.push(id);
    const text = this.decode(this.#window);
    const certain = certainLength(text);
    const news = text.slice(this.#emittedLength, certain);
    this.#emittedLength = Math.max(this.#emittedLength, certain);
    if (this.#window.length >= MAX_WINDOW_TOKENS) this.#cutBack();
    return news;
  }

  flush(): string {
    const rest = this.decode(this.#window).slice(this.#emittedLength);
    this.#window = [];
    this.#emittedLength = 0;
    return rest;
  }

  #cutBack(): void {
    const context = this.#window.slice(-CONTEXT_TOKENS);
    this.#window = context;
    this.#emittedLength = certainLength(this.decode(context));
  }
}

function certainLength(text: string): number {
  return text.endsWith(REPLACEMENT_CHARACTER) ? text.length - 1 : text.length;
}
