import { sha256 } from '@noble/hashes/sha2.js';
import { bytesToHex, utf8ToBytes } from '@noble/hashes/utils.js';
import * as v from 'valibot';
import { MAX_CACHED_SLICES, MAX_CACHED_WEIGHT_BYTES } from '../protocol/limits.ts';
import type { ByteStore } from './byte-store.ts';
import { CachedSource } from './cached-source.ts';
import type { VersionedSource } from './cached-source.ts';

/** Layers of the model at a URL. */
export interface CachedSlice {
  readonly modelUrl: string;
  readonly layerStart: number;
  readonly layerEnd: number;
}

const RECORD_PREFIX = 'slice-';

const recordSchema = v.object({
  modelUrl: v.string(),
  layerStart: v.number(),
  layerEnd: v.number(),
  /** Of the ranges that loading it reads. */
  names: v.array(v.string()),
  sizeBytes: v.number(),
  /** Milliseconds since 1970. */
  usedAtMs: v.number(),
  isComplete: v.boolean(),
});
type SliceRecord = v.InferOutput<typeof recordSchema>;

/**
 * Weights of the slices that were loaded last, so that loading one again takes no download. Each slice has a record of its own: tabs and
 * processes share the store without a lock, and what one deletes another finds missing.
 */
export class WeightCache {
  readonly #store: ByteStore;
  readonly #maxBytes: number;
  readonly #nowMs: () => number;

  constructor(
    store: ByteStore,
    {
      maxBytes = MAX_CACHED_WEIGHT_BYTES,
      nowMs = Date.now,
    }: { maxBytes?: number; nowMs?: () => number } = {},
  ) {
    this.#store = store;
    this.#maxBytes = maxBytes;
    this.#nowMs = nowMs;
  }

  open(source: VersionedSource): CachedSource {
    return new CachedSource(source, this.#store);
  }

  /**
   * Notes what a load has read, whether it came to its end or not, and makes room for it. Never rejects.
   * @param isLoaded whether everything the slice needs was read.
   */
  async remember(slice: CachedSlice, source: CachedSource, isLoaded: boolean): Promise<void> {
    const { names, sizeBytes, isComplete } = await source.kept();
    if (names.length === 0) return;
    const record: SliceRecord = {
      ...slice,
      names: [...names],
      sizeBytes,
      usedAtMs: this.#nowMs(),
      isComplete: isComplete && isLoaded,
    };
    try {
      await this.#store.put(recordName(slice), new TextEncoder().encode(JSON.stringify(record)));
      await this.#makeRoom();
    } catch {
      // A store without room for a record has none for weights either: the slice is downloaded again.
    }
  }

  /** Slices whose every range is there, the latest first. Never rejects. */
  async list(): Promise<CachedSlice[]> {
    try {
      const names = await this.#store.names();
      const present = new Set(names);
      const records = await this.#records(names);
      return records
        .filter((record) => record.isComplete && record.names.every((name) => present.has(name)))
        .map(({ modelUrl, layerStart, layerEnd }) => ({ modelUrl, layerStart, layerEnd }));
    } catch {
      return [];
    }
  }

  /** The latest first. */
  async #records(names: readonly string[]): Promise<SliceRecord[]> {
    const stored = await Promise.all(
      names.filter((name) => name.startsWith(RECORD_PREFIX)).map((name) => this.#store.get(name)),
    );
    return stored
      .map(parseRecord)
      .filter((record) => record !== null)
      .sort((a, b) => b.usedAtMs - a.usedAtMs);
  }

  async #makeRoom(): Promise<void> {
    const records = await this.#records(await this.#store.names());
    const kept = new Set<string>();
    let bytes = 0;
    const dropped = records.filter((record, index) => {
      bytes += record.sizeBytes;
      // The latest stays whatever its size: it is in use.
      const isKept = index === 0 || (index < MAX_CACHED_SLICES && bytes <= this.#maxBytes);
      if (isKept) for (const name of record.names) kept.add(name);
      return !isKept;
    });
    for (const record of dropped) {
      await this.#store.delete(recordName(record));
      for (const name of record.names) if (!kept.has(name)) await this.#store.delete(name);
    }
  }
}

function recordName({ modelUrl, layerStart, layerEnd }: CachedSlice): string {
  return RECORD_PREFIX + bytesToHex(sha256(utf8ToBytes(JSON.stringify([modelUrl, layerStart, layerEnd]))));
}

function parseRecord(bytes: Uint8Array | null): SliceRecord | null {
  if (bytes === null) return null;
  try {
    const parsed = v.safeParse(recordSchema, JSON.parse(new TextDecoder().decode(bytes)));
    return parsed.success ? parsed.output : null;
  } catch {
    return null;
  }
}
