import type { Clock } from '../../../src/mesh/clock.ts';

/** Time that passes when a test says so. */
export class ManualClock implements Clock {
  #now = 0;
  #timers: { readonly at: number; readonly run: () => void }[] = [];

  get pendingTimers(): number {
    return this.#timers.length;
  }

  now(): number {
    return this.#now;
  }

  after(delayMs: number, run: () => void): () => void {
    const timer = { at: this.#now + delayMs, run };
    this.#timers.push(timer);
    return () => (this.#timers = this.#timers.filter((other) => other !== timer));
  }

  /** Nothing runs until then, and what was due runs then, as after a process was stopped for a while. */
  pauseUntil(atMs: number): void {
    const due = this.#timers.filter(({ at }) => at <= atMs).sort((a, b) => a.at - b.at);
    this.#timers = this.#timers.filter((timer) => !due.includes(timer));
    this.#now = atMs;
    for (const { run } of due) run();
  }

  advance(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const next = this.#earliest();
      if (!next || next.at > end) break;
      this.#timers = this.#timers.filter((timer) => timer !== next);
      this.#now = next.at;
      next.run();
    }
    this.#now = end;
  }

  /** Of those that are due at the same time, the one that was set first. */
  #earliest(): { readonly at: number; readonly run: () => void } | undefined {
    let earliest = this.#timers[0];
    for (const timer of this.#timers) if (earliest && timer.at < earliest.at) earliest = timer;
    return earliest;
  }
}
