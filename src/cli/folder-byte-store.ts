import { randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ByteStore } from '../model/byte-store.ts';

const PARTIAL_SUFFIX = '.part';

/** Bytes in files of a folder, which is made when the first are stored and can be deleted at any time. */
export function folderByteStore(folder: string): ByteStore {
  return {
    get: async (name) => (await unlessMissing(readFile(join(folder, name)))) ?? null,
    put: async (name, bytes) => {
      await mkdir(folder, { recursive: true });
      const partial = join(folder, `${name}.${randomUUID()}${PARTIAL_SUFFIX}`);
      try {
        await writeFile(partial, bytes);
        await rename(partial, join(folder, name));
      } catch (thrown) {
        await rm(partial, { force: true });
        throw thrown;
      }
    },
    delete: (name) => rm(join(folder, name), { force: true }),
    names: async () => {
      const names = (await unlessMissing(readdir(folder))) ?? [];
      return names.filter((name) => !name.endsWith(PARTIAL_SUFFIX));
    },
  };
}

/** @returns undefined for a file or folder that does not exist. */
async function unlessMissing<Result>(reading: Promise<Result>): Promise<Result | undefined> {
  try {
    return await reading;
  } catch (thrown) {
    if (thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT') return undefined;
    throw thrown;
  }
}
