import type { ByteStore } from '../model/byte-store.ts';

const CACHE_NAME = 'skein-weights';
/** Names of a cache are URLs; nothing is ever fetched from these. */
const FOLDER = '/skein-weights/';

/** Bytes in the browser's Cache Storage, which pages and workers of one origin share. Null where the browser has none. */
export function browserByteStore(): ByteStore | null {
  const storage = (globalThis as { caches?: CacheStorage }).caches;
  if (storage === undefined) return null;
  const cache = () => storage.open(CACHE_NAME);
  return {
    get: async (name) => {
      const response = await (await cache()).match(FOLDER + name);
      return response === undefined ? null : new Uint8Array(await response.arrayBuffer());
    },
    put: async (name, bytes) => (await cache()).put(FOLDER + name, new Response(bytes)),
    delete: async (name) => {
      await (await cache()).delete(FOLDER + name);
    },
    names: async () => {
      const requests = await (await cache()).keys();
      return requests.map(({ url }) => new URL(url).pathname.slice(FOLDER.length));
    },
  };
}
