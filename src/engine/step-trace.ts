/** One forward pass, for whoever wants to see how a stage spends its time. */
export interface StepTrace {
  /** Milliseconds on the executor's clock. */
  readonly startMs: number;
  readonly endMs: number;
  /** Token rows, over all sequences. */
  readonly rows: number;
  readonly sequences: number;
}

/** Passes kept: minutes of decoding on a fast GPU. */
const TRACE_STEPS = 4096;

/** The latest passes of a stage; older ones are overwritten. */
export class TraceRing {
  readonly #steps: StepTrace[] = [];
  #next = 0;

  constructor(private readonly capacity = TRACE_STEPS) {}

  push(step: StepTrace): void {
    this.#steps[this.#next] = step;
    this.#next = (this.#next + 1) % this.capacity;
  }

  /** The median of their times; 0 before the first. */
  get typicalMs(): number {
    const times = this.#steps.map(({ startMs, endMs }) => endMs - startMs).sort((a, b) => a - b);
    return times[Math.floor(times.length / 2)] ?? 0;
  }

  /** A copy, oldest first. */
  read(): StepTrace[] {
    if (this.#steps.length < this.capacity) return [...this.#steps];
    return [...this.#steps.slice(this.#next), ...this.#steps.slice(0, this.#next)];
  }
}
