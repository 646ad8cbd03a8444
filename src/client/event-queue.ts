import type { RequestEvent } from './request-state.ts';

/** What happened to a request and was not looked at yet, in order. */
export class EventQueue {
  readonly #waiting: RequestEvent[] = [];
  #isClosed = false;
  #wake: () => void = () => undefined;

  push(event: RequestEvent): void {
    if (this.#isClosed) return;
    this.#waiting.push(event);
    this.#wake();
  }

  /** The last event: what waits before it is of no interest any more, and nothing follows. Only the first call counts. */
  close(event: RequestEvent): void {
    if (this.#isClosed) return;
    this.#waiting.length = 0;
    this.push(event);
    this.#isClosed = true;
  }

  async next(): Promise<RequestEvent> {
    for (;;) {
      const event = this.#waiting.shift();
      if (event !== undefined) return event;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}
