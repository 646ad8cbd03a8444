interface Event {
  readonly atSeconds: number;
  /** Events of one time happen in the order in which they were asked for. */
  readonly order: number;
  readonly happen: () => void;
}

/** A virtual clock and what is to happen at which time: a binary heap. */
export class EventQueue {
  readonly #heap: Event[] = [];
  #now = 0;
  #asked = 0;

  get nowSeconds(): number {
    return this.#now;
  }

  /** @param atSeconds now or later; earlier counts as now. */
  at(atSeconds: number, happen: () => void): void {
    const event = { atSeconds: Math.max(atSeconds, this.#now), order: this.#asked++, happen };
    this.#heap.push(event);
    this.#rise(this.#heap.length - 1, event);
  }

  after(delaySeconds: number, happen: () => void): void {
    this.at(this.#now + delaySeconds, happen);
  }

  /** Lets everything happen up to a time, what comes of it included, unless it is done before. */
  runUntil(endSeconds: number, isDone: () => boolean = () => false): void {
    while (!isDone()) {
      const next = this.#heap[0];
      if (next === undefined || next.atSeconds > endSeconds) break;
      this.#removeFirst();
      this.#now = next.atSeconds;
      next.happen();
    }
  }

  #removeFirst(): void {
    const last = this.#heap.pop();
    if (last !== undefined && this.#heap.length > 0) this.#sink(0, last);
  }

  #rise(from: number, event: Event): void {
    let index = from;
    while (index > 0) {
      const above = (index - 1) >> 1;
      const parent = this.#heap[above];
      if (parent === undefined || isBefore(parent, event)) break;
      this.#heap[index] = parent;
      index = above;
    }
    this.#heap[index] = event;
  }

  #sink(from: number, event: Event): void {
    let index = from;
    for (;;) {
      const left = this.#heap[2 * index + 1];
      const right = this.#heap[2 * index + 2];
      const isRight = left !== undefined && right !== undefined && isBefore(right, left);
      const child = isRight ? right : left;
      if (child === undefined || isBefore(event, child)) break;
      this.#heap[index] = child;
      index = 2 * index + (isRight ? 2 : 1);
    }
    this.#heap[index] = event;
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.atSeconds < b.atSeconds || (a.atSeconds === b.atSeconds && a.order < b.order);
}
