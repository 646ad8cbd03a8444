/** An unfinished sentence longer than this is spoken anyway: code and lists have no full stops. */
const LONGEST_WAIT_CHARACTERS = 240;

/**
 * Cuts a growing text into sentences, for a live region: a screen reader that is told every token stutters.
 * The pieces, joined, are the text.
 */
export class SentenceBuffer {
  #spoken = 0;

  /** @param text the whole text so far. @returns what is complete and was not returned before. */
  push(text: string): string {
    const rest = text.slice(this.#spoken);
    let end = 0;
    for (const match of rest.matchAll(/[.!?…:;]["”’)\]]*\s|\n/g)) end = match.index + match[0].length;
    if (end === 0 && rest.length > LONGEST_WAIT_CHARACTERS) end = rest.lastIndexOf(' ') + 1 || rest.length;
    this.#spoken += end;
    return rest.slice(0, end);
  }

  /** @returns what was held back. */
  flush(text: string): string {
    const rest = text.slice(this.#spoken);
    this.#spoken = text.length;
    return rest;
  }
}
