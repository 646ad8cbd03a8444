/** A figure that goes half of the way to its samples in each half-life. Times in milliseconds of one clock. */
export class Smoothed {
  #value: number | null = null;
  #atMs = 0;

  constructor(readonly halfLifeMs: number) {}

  /** The first sample is believed as it is. One that comes at the time of the last says nothing new. */
  add(sample: number, nowMs: number): void {
    if (this.#value === null) this.#value = sample;
    else this.#value += (1 - halvings(nowMs - this.#atMs, this.halfLifeMs)) * (sample - this.#value);
    this.#atMs = Math.max(this.#atMs, nowMs);
  }

  /** Null before the first sample. */
  get value(): number | null {
    return this.#value;
  }

  /** Of the last sample. */
  get atMs(): number {
    return this.#atMs;
  }

  /** What is left of it when it is forgotten by half in each `halfLifeMs` without a sample; `fallback` is what remains. */
  faded(fallback: number, halfLifeMs: number, nowMs: number): number {
    if (this.#value === null) return fallback;
    return fallback + (this.#value - fallback) * halvings(nowMs - this.#atMs, halfLifeMs);
  }
}

/** 1 halved as often as the half-life passed; 1 for no time, or for a clock that went back. */
export function halvings(elapsedMs: number, halfLifeMs: number): number {
  return 2 ** (-Math.max(0, elapsedMs) / halfLifeMs);
}
