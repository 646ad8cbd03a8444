/** How fast tokens came over one route: the first begins the count, because what came before it was the prompt. */
export class TokenMeter {
  #firstMs: number | null = null;
  #lastMs = 0;
  #tokensAfterFirst = 0;

  /** A token came. */
  count(nowMs: number): void {
    if (this.#firstMs === null) this.#firstMs = nowMs;
    else this.#tokensAfterFirst += 1;
    this.#lastMs = nowMs;
  }

  /** Null before there was a second token, or where the clock is too coarse to tell. */
  get outcome(): { readonly tokens: number; readonly seconds: number } | null {
    const seconds = (this.#lastMs - (this.#firstMs ?? 0)) / 1000;
    return this.#tokensAfterFirst > 0 && seconds > 0 ? { tokens: this.#tokensAfterFirst, seconds } : null;
  }
}
