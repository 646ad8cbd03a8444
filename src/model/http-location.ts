import { SkeinError } from '../protocol/errors.ts';
import { isGgufPath } from './gguf/gguf-file.ts';

const HUB = 'https://huggingface.co';
const HUB_ID = /^[A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*$/;

/** Whether this reads like a model on the hub, `owner/name`. */
export function isHubId(location: string): boolean {
  return HUB_ID.test(location);
}

/**
 * The folder that a location means: a URL, one of a GGUF file in it, a hub id (`Qwen/Qwen3-0.6B`) or the hub page of either.
 * @throws SkeinError `bad-argument` for anything else.
 */
export function folderUrl(location: string): URL {
  if (isHubId(location)) return hubFolder(location);
  if (!URL.canParse(location)) throw notAFolder(location);
  const url = new URL(location);
  if (url.protocol !== 'http:' && url.protocol !== 'https:') throw notAFolder(location);
  const modelPage = url.pathname.replace(/^\/|\/$/g, '');
  if (url.origin === HUB && isHubId(modelPage)) return hubFolder(modelPage);
  if (url.origin === HUB) url.pathname = url.pathname.replace(/^(\/[^/]+\/[^/]+)\/blob\//, '$1/resolve/');
  if (isGgufPath(url.pathname)) url.pathname = url.pathname.replace(/[^/]*$/, '');
  if (!url.pathname.endsWith('/')) url.pathname += '/';
  return url;
}

/** The GGUF file that a URL names; null for a folder or a hub id. @throws SkeinError `bad-argument` for a name with broken escapes. */
export function namedGgufFile(location: string): string | null {
  const path = URL.canParse(location) ? new URL(location).pathname : '';
  if (!isGgufPath(path)) return null;
  try {
    return decodeURIComponent(path.slice(path.lastIndexOf('/') + 1));
  } catch {
    throw notAFolder(location);
  }
}

function hubFolder(id: string): URL {
  return new URL(`${HUB}/${id}/resolve/main/`);
}

function notAFolder(location: string): SkeinError {
  return new SkeinError(
    'bad-argument',
    `${JSON.stringify(location)} is not a model. Give an http(s) URL of a folder or a hub id such as Qwen/Qwen3-0.6B.`,
    { data: { location } },
  );
}
