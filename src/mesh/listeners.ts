/** Who wants to hear of something. A listener may leave while it is being told. */
export class Listeners<Args extends readonly unknown[]> {
  readonly #listeners = new Set<{ readonly call: (...args: Args) => unknown }>();

  /** @returns a function that stops listening. */
  add(call: (...args: Args) => unknown): () => void {
    const entry = { call };
    this.#listeners.add(entry);
    return () => void this.#listeners.delete(entry);
  }

  tell(...args: Args): void {
    for (const { call } of [...this.#listeners]) call(...args);
  }

  /** @returns when all are done whose listeners returned a promise, failed or not; null where none did. */
  tellAndWait(...args: Args): Promise<unknown> | null {
    const pending = [...this.#listeners].map(({ call }) => call(...args)).filter(isPromise);
    return pending.length === 0 ? null : Promise.allSettled(pending);
  }

  clear(): void {
    this.#listeners.clear();
  }
}

function isPromise(value: unknown): value is Promise<unknown> {
  return value instanceof Promise;
}
