import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js';
import type { ByteStore } from './byte-store.ts';
import type { FileSource } from './file-source.ts';

/** A source that can tell whether a file is still the same. */
export interface VersionedSource extends FileSource {
  /** Changes when the file does; null where nothing can be told. */
  version(path: string, signal?: AbortSignal): Promise<string | null>;
}

/** What was read through a `CachedSource` and is in its store. */
export interface KeptRanges {
  readonly names: readonly string[];
  readonly sizeBytes: number;
  /** Whether that is all that was read. */
  readonly isComplete: boolean;
}

/**
 * Reads through a store: a range that was read before, of the same version of the file, is not downloaded again. Storing never fails a
 * read. Only whole ranges are found again, which suffices: a slice reads the same tensors every time.
 */
export class CachedSource implements FileSource {
  readonly description: string;
  readonly #source: VersionedSource;
  readonly #store: ByteStore;
  readonly #kept = new Map<string, number>();
  #isComplete = true;
  /** One range waits to be stored at most, besides those being read. */
  #storing: Promise<void> = Promise.resolve();

  constructor(source: VersionedSource, store: ByteStore) {
    this.description = source.description;
    this.#source = source;
    this.#store = store;
  }

  ggufFile(signal?: AbortSignal): Promise<string | null> {
    return this.#source.ggufFile(signal);
  }

  sizeBytes(path: string, signal?: AbortSignal): Promise<number | null> {
    return this.#source.sizeBytes(path, signal);
  }

  /** The bytes must not be changed before `kept` has resolved. */
  async read(
    path: string,
    start: number,
    end: number,
    signal?: AbortSignal,
  ): Promise<Uint8Array<ArrayBuffer>> {
    const version = await this.#source.version(path, signal);
    if (version === null) {
      this.#isComplete = false;
      return this.#source.read(path, start, end, signal);
    }
    const name = rangeName(this.description, path, version, start, end);
    const stored = await this.#store.get(name).catch(() => null);
    if (stored?.length === end - start) {
      this.#kept.set(name, stored.length);
      return stored;
    }
    await this.#storing;
    const bytes = await this.#source.read(path, start, end, signal);
    this.#storing = this.#storing.then(() => this.#keep(name, bytes));
    return bytes;
  }

  /** What there is once everything read so far is stored. Never rejects. */
  async kept(): Promise<KeptRanges> {
    await this.#storing;
    const sizeBytes = [...this.#kept.values()].reduce((sum, size) => sum + size, 0);
    return { names: [...this.#kept.keys()], sizeBytes, isComplete: this.#isComplete };
  }

  async #keep(name: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    try {
      await this.#store.put(name, bytes);
      this.#kept.set(name, bytes.length);
    } catch {
      // No room, or no permission: the slice is not listed as cached, and its next load downloads what is missing.
      this.#isComplete = false;
    }
  }
}

function rangeName(source: string, path: string, version: string, start: number, end: number): string {
  return bytesToHex(sha256(utf8ToBytes(JSON.stringify([source, path, version, start, end]))));
}
