interface Step<Event> {
  readonly index: number;
  readonly result: IteratorResult<Event, void>;
}

/**
 * Hands on what several generators yield, as it comes: whoever waited longest is first, so that none holds up the others. When one
 * throws, or nobody reads on, all are ended before this ends.
 * @param stop ends what they are doing.
 */
export async function* mergeChoices<Event>(
  generators: readonly AsyncGenerator<Event, void, void>[],
  stop: () => void,
): AsyncGenerator<Event, void, void> {
  const pending = new Map<number, Promise<Step<Event>>>();
  const ask = (index: number, generator: AsyncGenerator<Event, void, void>) => {
    pending.set(
      index,
      generator.next().then((result) => ({ index, result })),
    );
  };
  try {
    generators.forEach((generator, index) => ask(index, generator));
    while (pending.size > 0) {
      const { index, result } = await Promise.race(pending.values());
      // Asked again, it is behind the others.
      pending.delete(index);
      if (result.done === true) continue;
      yield result.value;
      const generator = generators[index];
      if (generator !== undefined) ask(index, generator);
    }
  } finally {
    stop();
    await Promise.allSettled([...pending.values(), ...generators.map((generator) => generator.return())]);
  }
}
