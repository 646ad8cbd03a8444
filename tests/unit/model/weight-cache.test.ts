import { beforeEach, describe, expect, it } from 'vitest';
import type { VersionedSource } from '../../../src/model/cached-source.ts';
import { WeightCache } from '../../../src/model/weight-cache.ts';
import { MAX_CACHED_SLICES } from '../../../src/protocol/limits.ts';
import { MemoryByteStore } from '../../fixtures/memory-byte-store.ts';

const URL = 'http://host/models/m/';
const RANGE_BYTES = 1000;

/** A file whose bytes depend on where they are and on its version; each layer is one range. */
class Remote implements VersionedSource {
  readonly description = URL;
  reads = 0;
  fileVersion: string | null = '"v1"';

  ggufFile() {
    return Promise.resolve(null);
  }

  sizeBytes() {
    return Promise.resolve(100 * RANGE_BYTES);
  }

  version(path: string) {
    return Promise.resolve(path === 'unversioned' ? null : this.fileVersion);
  }

  read(_path: string, start: number, end: number) {
    this.reads += 1;
    const seed = this.fileVersion === '"v1"' ? 1 : 2;
    return Promise.resolve(Uint8Array.from({ length: end - start }, (_, index) => (start + index) * seed));
  }
}

let store: MemoryByteStore;
let remote: Remote;
let cache: WeightCache;
let now: number;

beforeEach(() => {
  store = new MemoryByteStore();
  remote = new Remote();
  now = 0;
  cache = new WeightCache(store, { maxBytes: 20 * RANGE_BYTES, nowMs: () => (now += 1) });
});

/** Names of ranges that are stored. */
function ranges(): string[] {
  return [...store.entries.keys()].filter((name) => !name.startsWith('slice-'));
}

/** As a stage loads its slice. */
async function load(layerStart: number, layerEnd: number, isLoaded = true): Promise<Uint8Array[]> {
  const source = cache.open(remote);
  const layers: Uint8Array[] = [];
  for (let layer = layerStart; layer < layerEnd; layer += 1) {
    layers.push(await source.read('w', layer * RANGE_BYTES, (layer + 1) * RANGE_BYTES));
  }
  await cache.remember(slice(layerStart, layerEnd), source, isLoaded);
  return layers;
}

function slice(layerStart: number, layerEnd: number) {
  return { modelUrl: URL, layerStart, layerEnd };
}

describe('loading a slice again', () => {
  it('reads the same bytes and downloads none', async () => {
    const first = await load(2, 5);
    expect(remote.reads).toBe(3);
    expect(await load(2, 5)).toEqual(first);
    expect(remote.reads).toBe(3);
    expect(await cache.list()).toEqual([slice(2, 5)]);
  });

  it('downloads only the layers that no slice before had', async () => {
    await load(0, 4);
    await load(2, 6);
    expect(remote.reads).toBe(6);
  });

  it('downloads a file anew that has changed', async () => {
    const first = await load(0, 2);
    remote.fileVersion = '"v2"';
    const second = await load(0, 2);
    expect(remote.reads).toBe(4);
    expect(second).not.toEqual(first);
  });

  it('downloads again what the store lost or cut short', async () => {
    const first = await load(0, 3);
    const [lost = '', short = ''] = ranges();
    store.entries.delete(lost);
    store.entries.set(short, new Uint8Array(5));
    expect(await load(0, 3)).toEqual(first);
    expect(remote.reads).toBe(5);
  });
});

describe('the list of cached slices', () => {
  it('has the latest first', async () => {
    await load(0, 2);
    await load(3, 4);
    await load(0, 2);
    expect(await cache.list()).toEqual([slice(0, 2), slice(3, 4)]);
  });

  it('names no slice of which anything is missing', async () => {
    await load(0, 3);
    store.entries.delete(ranges()[1] ?? '');
    expect(await cache.list()).toEqual([]);
  });

  it('names no slice whose load failed, was not stored whole, or cannot be told from another version', async () => {
    await load(0, 3, false);
    store.putsToFailure = 2;
    await load(4, 7);
    const source = cache.open(remote);
    await source.read('w', 8000, 9000);
    await source.read('unversioned', 0, 1000);
    await cache.remember(slice(8, 9), source, true);
    expect(await cache.list()).toEqual([]);
  });

  it('does without records that nobody here wrote', async () => {
    await load(0, 1);
    const encode = (text: string) => new TextEncoder().encode(text);
    store.entries.set('slice-1', encode('{'));
    store.entries.set('slice-2', encode('{"modelUrl":3}'));
    expect(await cache.list()).toEqual([slice(0, 1)]);
  });
});

describe('the room that weights take', () => {
  it('is bounded, and what was used last stays', async () => {
    for (const start of [0, 8, 16, 24]) await load(start, start + 8);
    expect(ranges()).toHaveLength(16);
    expect(await cache.list()).toEqual([slice(24, 32), slice(16, 24)]);
  });

  it('keeps layers of a dropped slice that another one has', async () => {
    await load(0, 8);
    await load(4, 12);
    await load(12, 20);
    expect(await cache.list()).toEqual([slice(12, 20), slice(4, 12)]);
    expect(ranges()).toHaveLength(16);
    const before = remote.reads;
    await load(4, 12);
    expect(remote.reads).toBe(before);
  });

  it('keeps the slice in use, however large', async () => {
    await load(0, 30);
    expect(await cache.list()).toEqual([slice(0, 30)]);
  });

  it('holds no more slices than a peer may name', async () => {
    for (let start = 0; start < MAX_CACHED_SLICES + 3; start += 1) await load(start, start + 1);
    expect(await cache.list()).toHaveLength(MAX_CACHED_SLICES);
    expect(store.entries.size).toBe(2 * MAX_CACHED_SLICES);
  });

  it('frees in time what loads left that did not come to their end', async () => {
    await load(0, 8, false);
    await load(8, 16);
    await load(16, 24);
    expect(ranges()).toHaveLength(16);
  });
});

it('loads, and lists nothing, where the store fails', async () => {
  store.isBroken = true;
  expect(await load(0, 2)).toHaveLength(2);
  expect(await cache.list()).toEqual([]);
});
