import { randomUUID } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, posix, win32 } from 'node:path';
import type { TuningStore } from '../engine/choose-tuning.ts';
import { isJsonObject } from '../model/json.ts';
import type { JsonObject } from '../model/json.ts';

/** Adapters and builds of a driver on one machine are few; a file of more choices than this has gone wrong. */
const MAX_CHOICES = 64;

/** What decides where a user's caches are. */
export interface CacheLocation {
  readonly platform: NodeJS.Platform;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly home: string;
}

/**
 * Where the operating system wants what can be made again: `XDG_CACHE_HOME` or ~/.cache, ~/Library/Caches, %LOCALAPPDATA%.
 * @see https://specifications.freedesktop.org/basedir-spec/latest/ relative paths are to be ignored.
 */
export function tuningFilePath({ platform, env, home }: CacheLocation): string {
  const path = platform === 'win32' ? win32 : posix;
  const absolute = (folder = '') => (path.isAbsolute(folder) ? folder : null);
  switch (platform) {
    case 'win32':
      return path.join(
        absolute(env['LOCALAPPDATA']) ?? path.join(home, 'AppData', 'Local'),
        'skein',
        'tuning.json',
      );
    case 'darwin':
      return path.join(home, 'Library', 'Caches', 'skein', 'tuning.json');
    default:
      return path.join(absolute(env['XDG_CACHE_HOME']) ?? path.join(home, '.cache'), 'skein', 'tuning.json');
  }
}

/**
 * Keeps choices in one JSON file, an object by key, for processes that are not browsers. It can be deleted at any time. A file that
 * cannot be read or written, or holds something else, costs a measurement and nothing more. Of two processes that save at once, one may lose its choice.
 */
export function fileTuningStore(
  path = tuningFilePath({ platform: process.platform, env: process.env, home: homedir() }),
): TuningStore {
  return {
    load: async (key) => new Map(Object.entries(await readChoices(path))).get(key),
    save: async (key, tuning) => {
      const others = Object.entries(await readChoices(path)).filter(([other]) => other !== key);
      const kept = [...others.slice(1 - MAX_CHOICES), [key, tuning] as const];
      await replaceFile(path, `${JSON.stringify(Object.fromEntries(kept), null, 2)}\n`).catch(
        () => undefined,
      );
    },
  };
}

async function readChoices(path: string): Promise<JsonObject> {
  try {
    const choices: unknown = JSON.parse(await readFile(path, 'utf8'));
    return isJsonObject(choices) ? choices : {};
  } catch {
    return {};
  }
}

/** Others see the old file or the new one, never half of it. */
async function replaceFile(path: string, text: string): Promise<void> {
  const draft = `${path}.${randomUUID()}`;
  await mkdir(dirname(path), { recursive: true });
  try {
    await writeFile(draft, text);
    await rename(draft, path);
  } catch (thrown) {
    await rm(draft, { force: true });
    throw thrown;
  }
}
