import type { ByteStore } from '../model/byte-store.ts';

/** A store that tells how much was read from it. */
export interface CountingByteStore extends ByteStore {
  /** Since it was made. */
  readonly readBytes: number;
}

export function countingByteStore(store: ByteStore): CountingByteStore {
  let readBytes = 0;
  return {
    get readBytes() {
      return readBytes;
    },
    get: async (name) => {
      const bytes = await store.get(name);
      readBytes += bytes?.length ?? 0;
      return bytes;
    },
    put: (name, bytes) => store.put(name, bytes),
    delete: (name) => store.delete(name),
    names: () => store.names(),
  };
}
