import type { RequestEvent } from './request-state.ts';

/** Tokens of earlier routes that may be on their way beside those of the answer. */
const SPARE_TOKENS = 64;

/**
 * What happened to a request and was not looked at yet, in order. No more tokens wait than the answer may have: whoever sends
 * more of them than that leaves a gap, and is found by it.
 */
export class EventQueue {
  readonly #waiting: RequestEvent[] = [];
  readonly #mostTokens: number;
  #waitingTokens = 0;
  #isClosed = false;
  #wake: () => void = () => undefined;

  constructor(maxTokens: number) {
    this.#mostTokens = maxTokens + SPARE_TOKENS;
  }

  push(event: RequestEvent): void {
    if (this.#isClosed) return;
    if (event.type === 'token') {
      if (this.#waitingTokens === this.#mostTokens) return;
      this.#waitingTokens += 1;
    }
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
      if (event?.type === 'token') this.#waitingTokens -= 1;
      if (event !== undefined) return event;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}
