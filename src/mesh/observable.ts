/** A value that tells its listeners when it changes. */
export class Observable<T> {
  #value: T;
  readonly #listeners = new Set<(value: T) => void>();

  constructor(initial: T) {
    this.#value = initial;
  }

  get value(): T {
    return this.#value;
  }

  set value(next: T) {
    this.#value = next;
    // A copy: a listener may unsubscribe, or set the value again, while it is being told.
    for (const listener of [...this.#listeners]) {
      if (this.#listeners.has(listener)) listener(this.#value);
    }
  }

  /** Not called with the present value. @returns a function that stops listening. */
  subscribe(listener: (value: T) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }
}
