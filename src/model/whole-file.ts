import { allocateBytes } from './allocate.ts';
import { untilAborted } from './abort.ts';

/** The chunks of a file as they came off the network: joining them would need its size a second time. */
export class WholeFile {
  readonly sizeBytes: number;

  constructor(
    readonly file: string,
    readonly chunks: readonly Uint8Array<ArrayBuffer>[],
  ) {
    this.sizeBytes = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  }

  /** A copy of bytes `[start, end)`, which must lie inside. */
  slice(start: number, end: number): Uint8Array<ArrayBuffer> {
    const bytes = allocateBytes(end - start, this.file);
    let chunkStart = 0;
    for (const chunk of this.chunks) {
      const from = Math.max(start, chunkStart);
      const to = Math.min(end, chunkStart + chunk.length);
      if (from < to) bytes.set(chunk.subarray(from - chunkStart, to - chunkStart), from - start);
      chunkStart += chunk.length;
    }
    return bytes;
  }
}

/** Holds the file last downloaded whole, and lets one download run at a time: there is never a second file in memory. */
export class WholeFileCache {
  #held: WholeFile | null = null;
  #turn: Promise<unknown> = Promise.resolve();

  holds(file: string): boolean {
    return this.#held?.file === file;
  }

  /** @param download runs when the file is not held; the one held before is dropped first. */
  async get(file: string, download: () => Promise<WholeFile>, signal?: AbortSignal): Promise<WholeFile> {
    const before = this.#turn;
    let endTurn = (): void => undefined;
    const mine = new Promise<void>((resolve) => (endTurn = resolve));
    // Whoever gives up waiting must not let the next one overtake the download still running.
    this.#turn = Promise.all([before, mine]);
    try {
      await untilAborted(before, signal);
      if (this.#held?.file !== file) {
        this.#held = null;
        this.#held = await download();
      }
      return this.#held;
    } finally {
      endTurn();
    }
  }
}
