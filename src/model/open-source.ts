import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { FolderSource } from './folder-source.ts';
import { isHubId } from './http-location.ts';
import { HttpSource } from './http-source.ts';
import type { FileSource } from './file-source.ts';

/**
 * Where a model is, as people write it: an http(s) URL, a folder, or a hub id (`Qwen/Qwen3-0.6B`). A folder of that name wins
 * over the hub. Node only; a page knows its URLs and uses `HttpSource` itself.
 */
export function fileSourceFor(location: string): FileSource {
  if (/^https?:\/\//i.test(location)) return new HttpSource(location);
  if (/^file:\/\//i.test(location)) return new FolderSource(fileURLToPath(location));
  return isHubId(location) && !existsSync(location) ? new HttpSource(location) : new FolderSource(location);
}
