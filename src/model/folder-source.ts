import { open, readdir, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { SkeinError } from '../protocol/errors.ts';
import { throwIfAborted } from './abort.ts';
import { allocateBytes } from './allocate.ts';
import { assertInnerPath, describeFile, missingFile, shortFile } from './model-path.ts';
import { isGgufPath, onlyGgufFile } from './gguf/gguf-file.ts';
import type { FileSource } from './file-source.ts';

/** Between chunks of this size a read looks whether it is still wanted. */
const READ_CHUNK_BYTES = 16 * 1024 * 1024;

/** A model folder on disk; Node only. Symbolic links are followed, for hub caches are made of them. */
export class FolderSource implements FileSource {
  readonly description: string;
  readonly #ggufFile: string | null;

  /** @param location a folder, or a GGUF file in one. */
  constructor(location: string) {
    const path = resolve(location);
    this.#ggufFile = isGgufPath(path) ? basename(path) : null;
    this.description = this.#ggufFile === null ? path : dirname(path);
  }

  async ggufFile(signal?: AbortSignal): Promise<string | null> {
    if (this.#ggufFile !== null) return this.#ggufFile;
    throwIfAborted(signal);
    const names = await readdir(this.description).catch((cause: unknown): string[] => {
      if (isAbsence(cause)) return [];
      throw new SkeinError('model-missing', `${this.description} cannot be listed: ${reasonOf(cause)}`, {
        cause,
      });
    });
    return onlyGgufFile(names, this.description);
  }

  async sizeBytes(path: string, signal?: AbortSignal): Promise<number | null> {
    assertInnerPath(path, this);
    throwIfAborted(signal);
    try {
      const stats = await stat(join(this.description, path));
      return stats.isFile() ? stats.size : null;
    } catch (cause) {
      if (isAbsence(cause)) return null;
      throw missingFile(this, path, `cannot be read: ${reasonOf(cause)}`, cause);
    }
  }

  async read(
    path: string,
    start: number,
    end: number,
    signal?: AbortSignal,
  ): Promise<Uint8Array<ArrayBuffer>> {
    assertInnerPath(path, this);
    throwIfAborted(signal);
    const handle = await open(join(this.description, path)).catch((cause: unknown) => {
      throw missingFile(this, path, `cannot be read: ${reasonOf(cause)}`, cause);
    });
    try {
      if ((await handle.stat()).size < end) throw shortFile(this, path, start, end);
      const bytes = allocateBytes(end - start, describeFile(this, path));
      let filled = 0;
      while (filled < bytes.length) {
        throwIfAborted(signal);
        const length = Math.min(READ_CHUNK_BYTES, bytes.length - filled);
        const { bytesRead } = await handle.read(bytes, filled, length, start + filled);
        if (bytesRead === 0) throw shortFile(this, path, start, end);
        filled += bytesRead;
      }
      return bytes;
    } finally {
      await handle.close();
    }
  }
}

function isAbsence(thrown: unknown): boolean {
  const code = (thrown as NodeJS.ErrnoException).code;
  return code === 'ENOENT' || code === 'ENOTDIR';
}

function reasonOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
