import type { Clock } from './clock.ts';

/** Fires once when nothing touched it for a while. A touch is a store, not a new timer: it happens on every frame. */
export class IdleTimer {
  #lastTouch: number;
  #cancel: () => void;

  constructor(
    private readonly clock: Clock,
    private readonly idleMs: number,
    private readonly onIdle: () => void,
  ) {
    this.#lastTouch = clock.now();
    this.#cancel = clock.after(idleMs, () => this.#check());
  }

  touch(): void {
    this.#lastTouch = this.clock.now();
  }

  /** Idempotent. */
  stop(): void {
    this.#cancel();
  }

  #check(): void {
    const remainingMs = this.#lastTouch + this.idleMs - this.clock.now();
    if (remainingMs > 0) this.#cancel = this.clock.after(remainingMs, () => this.#check());
    else this.onIdle();
  }
}
