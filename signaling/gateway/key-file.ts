import { readFile, stat } from 'node:fs/promises';
import { SkeinError } from '../../src/protocol/errors.ts';
import type { Log } from '../log.ts';
import { parseApiKeys } from './api-keys.ts';
import type { ApiKey } from './api-keys.ts';
import { KEY_FILE_CHECK_MS, MAX_KEY_FILE_BYTES } from './limits.ts';

/** Where the gateway finds the keys that are good at this moment. */
export interface KeyStore {
  keys(): Promise<readonly ApiKey[]>;
}

/** A file of keys that is read again when it changes. One that turns bad leaves the keys as they were. */
export class KeyFile implements KeyStore {
  #keys: readonly ApiKey[];
  #version: string;
  #checkedMs: number;
  #checking: Promise<void> | null = null;

  private constructor(
    private readonly path: string,
    private readonly log: Log,
    private readonly now: () => number,
    first: { readonly keys: readonly ApiKey[]; readonly version: string },
  ) {
    this.#keys = first.keys;
    this.#version = first.version;
    this.#checkedMs = now();
  }

  /** @throws SkeinError `bad-argument` for a file that cannot be read, or holds something else. */
  static async open(path: string, log: Log, now: () => number = () => performance.now()): Promise<KeyFile> {
    const version = await versionOf(path);
    return new KeyFile(path, log, now, { version, keys: await readKeyFile(path) });
  }

  async keys(): Promise<readonly ApiKey[]> {
    if (this.now() - this.#checkedMs >= KEY_FILE_CHECK_MS) {
      this.#checking ??= this.#check().finally(() => (this.#checking = null));
      await this.#checking;
    }
    return this.#keys;
  }

  async #check(): Promise<void> {
    this.#checkedMs = this.now();
    try {
      const version = await versionOf(this.path);
      if (version === this.#version) return;
      this.#version = version;
      this.#keys = await readKeyFile(this.path);
      this.log.info(`${this.path}: ${this.#keys.length} keys`);
    } catch (thrown) {
      this.log.error(`Keys stay as they were: ${SkeinError.from(thrown).message}`);
    }
  }
}

/** @throws SkeinError `bad-argument`. */
export async function readKeyFile(path: string): Promise<ApiKey[]> {
  try {
    const { size } = await stat(path);
    if (size > MAX_KEY_FILE_BYTES) {
      throw new SkeinError(
        'bad-argument',
        `${size} bytes are more than the ${MAX_KEY_FILE_BYTES} of any file of keys.`,
      );
    }
    return parseApiKeys(await readFile(path, 'utf8'));
  } catch (cause) {
    throw new SkeinError('bad-argument', `${path} cannot be used: ${SkeinError.from(cause).message}`, {
      cause,
    });
  }
}

async function versionOf(path: string): Promise<string> {
  const { mtimeMs, size, ino } = await stat(path).catch((cause: unknown) => {
    const words = `${path} cannot be read: ${SkeinError.from(cause).message}. Make it with: skein keys add NAME --api-keys ${path}`;
    throw new SkeinError('bad-argument', words, { cause });
  });
  return `${mtimeMs} ${size} ${ino}`;
}
