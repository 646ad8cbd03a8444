import { SkeinError } from '../protocol/errors.ts';
import { MAX_MODEL_JSON_BYTES } from '../protocol/limits.ts';
import { decodeUtf8, parseJson } from './json.ts';
import { describeFile } from './model-path.ts';
import type { FileSource } from './file-source.ts';

/**
 * @returns null when there is no such file.
 * @throws SkeinError `model-corrupt` when it is larger than `MAX_MODEL_JSON_BYTES` (then nothing is read) or is not UTF-8.
 */
export async function readTextFile(
  source: FileSource,
  path: string,
  signal?: AbortSignal,
): Promise<string | null> {
  const sizeBytes = await source.sizeBytes(path, signal);
  if (sizeBytes === null) return null;
  const file = describeFile(source, path);
  if (sizeBytes > MAX_MODEL_JSON_BYTES) {
    throw new SkeinError(
      'model-corrupt',
      `${file} has ${sizeBytes} bytes; a text file of a model may have ${MAX_MODEL_JSON_BYTES}.`,
      { data: { file, sizeBytes } },
    );
  }
  return decodeUtf8(await source.read(path, 0, sizeBytes, signal), file);
}

/**
 * @returns undefined when there is no such file, which no JSON text can mean.
 * @throws SkeinError `model-corrupt` when it is too large or is not JSON.
 */
export async function readJsonFile(source: FileSource, path: string, signal?: AbortSignal): Promise<unknown> {
  const text = await readTextFile(source, path, signal);
  return text === null ? undefined : parseJson(text, describeFile(source, path));
}
