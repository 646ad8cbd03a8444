import { SkeinError } from '../protocol/errors.ts';
import { MAX_STOP_TOKENS } from '../protocol/limits.ts';
import { describeFile } from '../model/model-path.ts';
import { isJsonObject } from '../model/json.ts';
import { readJsonFile } from '../model/read-file.ts';
import type { FileSource } from '../model/file-source.ts';

/** In order of authority: what generation should do, then what the model was trained with. */
const FILES = ['generation_config.json', 'config.json'];
const FIELD = 'eos_token_id';

/**
 * The tokens that end an answer.
 * @returns null when neither generation_config.json nor config.json names any.
 * @throws SkeinError `model-corrupt` naming file and field.
 */
export async function readStopTokenIds(source: FileSource, signal?: AbortSignal): Promise<number[] | null> {
  for (const path of FILES) {
    const json = await readJsonFile(source, path, signal);
    const value = isJsonObject(json) ? json[FIELD] : undefined;
    if (value === undefined || value === null) continue;
    const ids: unknown[] = Array.isArray(value) ? value : [value];
    if (ids.length > MAX_STOP_TOKENS || !ids.every(isTokenId)) {
      const file = describeFile(source, path);
      throw new SkeinError(
        'model-corrupt',
        `${file}: "${FIELD}" must be a token id or a list of at most ${MAX_STOP_TOKENS} of them. Repair the file.`,
        { data: { file, field: FIELD } },
      );
    }
    return ids;
  }
  return null;
}

function isTokenId(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
