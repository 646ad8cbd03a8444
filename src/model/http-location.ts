import { SkeinError } from '../protocol/errors.ts';

const HUB = 'https://huggingface.co';
const HUB_ID = /^[A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*$/;

/** Whether this reads like a model on the hub, `owner/name`. */
export function isHubId(location: string): boolean {
  return HUB_ID.test(location);
}

/**
 * The folder that a location means: a URL, a hub id (`Qwen/Qwen3-0.6B`) or the hub page of a model.
 * @throws SkeinError `bad-argument` for anything else.
 */
export function folderUrl(location: string): URL {
  if (isHubId(location)) return hubFolder(location);
  if (!URL.canParse(location)) throw notAFolder(location);
  const url = new URL(location);
  if (url.protocol !== 'http:' && url.protocol !== 'https:') throw notAFolder(location);
  const modelPage = url.pathname.replace(/^\/|\/$/g, '');
  if (url.origin === HUB && isHubId(modelPage)) return hubFolder(modelPage);
  if (!url.pathname.endsWith('/')) url.pathname += '/';
  return url;
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
