/** Who wants to hear of something. A listener may leave while it is being told. */
export class Listeners<Args extends readonly unknown[]> {
  readonly #listeners = new Set<{ readonly call: (...args: Args) => unknown }>();

  /** @returns a function that stops listening. */
  add(call: (...args: Args) => unknown): () => void {
    const entry = { call };
    this.#listeners.add(entry);
    return () => void this.#listeners.delete(entry);
  }

  /**
   * As `add`, and soon tells the newcomer how things stand. Who leaves hears nothing more, not even of what is being told.
   * @param state is asked when it is to be told: arguments for each thing there is to tell.
   */
  addAndTell(call: (...args: Args) => unknown, state: () => Iterable<Args>): () => void {
    let isListening = true;
    const hear = (...args: Args) => (isListening ? call(...args) : undefined);
    const stop = this.add(hear);
    queueMicrotask(() => {
      for (const args of state()) hear(...args);
    });
    return () => {
      isListening = false;
      stop();
    };
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

/** A listener to every event of a union, made of one to the events of a type. */
export function hearOnly<Event extends { readonly type: string }, Type extends Event['type']>(
  type: Type,
  listener: (event: Extract<Event, { type: Type }>) => void,
): (event: Event) => void {
  const isWanted = (event: Event): event is Extract<Event, { type: Type }> => event.type === type;
  return (event) => {
    if (isWanted(event)) listener(event);
  };
}

function isPromise(value: unknown): value is Promise<unknown> {
  return value instanceof Promise;
}
