/** Who wants to hear of something. A listener may leave while it is being told. */
export class Listeners<Args extends readonly unknown[]> {
  readonly #listeners = new Set<{ readonly call: (...args: Args) => void }>();

  /** @returns a function that stops listening. */
  add(call: (...args: Args) => void): () => void {
    const entry = { call };
    this.#listeners.add(entry);
    return () => void this.#listeners.delete(entry);
  }

  tell(...args: Args): void {
    for (const { call } of [...this.#listeners]) call(...args);
  }

  clear(): void {
    this.#listeners.clear();
  }
}
