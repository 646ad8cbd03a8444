const WINDOW_MS = 3_000;
const BYTES_PER_MB = 1_000_000;
const DISK = "this machine's disk";

interface Sample {
  readonly atMs: number;
  readonly loadedBytes: number;
}

/** How fast weights come, over the last seconds, and whence. */
export class LoadingMeter {
  readonly #origin: string;
  readonly #diskBytes: () => number;
  #samples: Sample[] = [];
  /** Of the store, when this load began. */
  #diskBytesBefore = 0;

  /** @param diskBytes read from the weights that are kept on this machine, in all. */
  constructor(origin: string, diskBytes: () => number) {
    this.#origin = origin;
    this.#diskBytes = diskBytes;
  }

  /** The load is over. */
  reset(): void {
    this.#samples = [];
  }

  /** `8.4 MB/s from mesh.example`; without a rate before one can be told. */
  words(loadedBytes: number, nowMs: number): string {
    const last = this.#samples.at(-1);
    if (last === undefined || loadedBytes < last.loadedBytes) {
      this.#samples = [];
      this.#diskBytesBefore = this.#diskBytes();
    }
    this.#samples = this.#samples.filter(({ atMs }) => nowMs - atMs <= WINDOW_MS);
    this.#samples.push({ atMs: nowMs, loadedBytes });
    const [first = { atMs: nowMs, loadedBytes }] = this.#samples;
    const seconds = (nowMs - first.atMs) / 1000;
    const isFromDisk = 2 * (this.#diskBytes() - this.#diskBytesBefore) > loadedBytes;
    const from = `from ${isFromDisk ? DISK : this.#origin}`;
    if (seconds <= 0) return from;
    const rate = (loadedBytes - first.loadedBytes) / BYTES_PER_MB / seconds;
    return `${rate.toFixed(1)} MB/s ${from}`;
  }
}
