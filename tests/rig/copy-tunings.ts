import { existsSync } from 'node:fs';
import { copyFile, mkdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname } from 'node:path';
import { tuningFilePath } from '../../src/cli/tuning-file.ts';

/** Which kernels suit the adapters of this machine, as far as it is known. @param from a cache folder; the user's own by default. */
export async function copyTunings(cacheFolder: string, from?: string): Promise<void> {
  const { platform, env } = process;
  const fileIn = (folder: string | undefined) =>
    tuningFilePath({
      platform,
      env: { ...env, ...(folder !== undefined && { XDG_CACHE_HOME: folder }) },
      home: homedir(),
    });
  const known = fileIn(from);
  const copy = fileIn(cacheFolder);
  if (copy === known || !existsSync(known)) return;
  await mkdir(dirname(copy), { recursive: true });
  await copyFile(known, copy);
}
