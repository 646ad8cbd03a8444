/** What the way to a peer takes. */
export interface LinkMeasurement {
  readonly rttSeconds: number;
  /** Null before a frame was sent that is large enough to tell. */
  readonly bytesPerSecond: number | null;
}

/** Samples older than this no longer speak for the way. */
const SAMPLE_LIFE_MS = 60_000;
/** Samples of each kind that are kept. */
const MAX_SAMPLES = 8;
/** Shorter transfers cannot be told from the clock's grain; rates of faster links come out low. */
const MIN_TRANSFER_SECONDS = 0.001;

interface Sample {
  readonly atMs: number;
  readonly value: number;
}

/**
 * Round trips and transfers of one link, smoothed as congestion control does: the shortest round trip of late is the way without
 * queues, and the fastest transfer of late is what it carries.
 */
export class LinkMeter {
  #roundTrips: readonly Sample[] = [];
  #rates: readonly Sample[] = [];

  /** @param nowMs monotonic, as in every other call. */
  addRoundTrip(seconds: number, nowMs: number): void {
    this.#roundTrips = append(this.#roundTrips, { atMs: nowMs, value: seconds });
  }

  /** @param seconds from the first byte until the end of it was confirmed: a round trip is taken off. */
  addTransfer(sizeBytes: number, seconds: number, nowMs: number): void {
    const rttSeconds = shortest(fresh(this.#roundTrips, nowMs)) ?? 0;
    const transferSeconds = Math.max(seconds - rttSeconds, MIN_TRANSFER_SECONDS);
    this.#rates = append(this.#rates, { atMs: nowMs, value: sizeBytes / transferSeconds });
  }

  /** Null while no round trip of late is known. */
  measurement(nowMs: number): LinkMeasurement | null {
    const rttSeconds = shortest(fresh(this.#roundTrips, nowMs));
    if (rttSeconds === null) return null;
    const rates = fresh(this.#rates, nowMs).map(({ value }) => value);
    return { rttSeconds, bytesPerSecond: rates.length === 0 ? null : Math.max(...rates) };
  }
}

function append(samples: readonly Sample[], sample: Sample): readonly Sample[] {
  return [...samples.slice(1 - MAX_SAMPLES), sample];
}

function fresh(samples: readonly Sample[], nowMs: number): readonly Sample[] {
  return samples.filter(({ atMs }) => nowMs - atMs <= SAMPLE_LIFE_MS);
}

function shortest(samples: readonly Sample[]): number | null {
  return samples.length === 0 ? null : Math.min(...samples.map(({ value }) => value));
}
