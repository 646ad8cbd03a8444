import { SkeinError } from '../../protocol/errors.ts';
import type { FileSource } from '../file-source.ts';
import { describeFile } from '../model-path.ts';

const TOKENIZER_FILE = 'tokenizer.json';

export function isGgufPath(path: string): boolean {
  return path.toLowerCase().endsWith('.gguf');
}

/**
 * @param names of the files of a folder.
 * @returns null where there is none, or safetensors beside it, which are the model then.
 * @throws SkeinError `bad-argument` naming them when there are several.
 */
export function onlyGgufFile(names: readonly string[], folder: string): string | null {
  if (names.some((name) => /^model\.safetensors(\.index\.json)?$/.test(name))) return null;
  const [only, ...others] = names.filter(isGgufPath).sort();
  if (only === undefined || others.length === 0) return only ?? null;
  throw new SkeinError(
    'bad-argument',
    `${folder} has several GGUF files: ${[only, ...others].join(', ')}. Name one of them: ${folder}/${only}.`,
    { data: { folder } },
  );
}

/**
 * A GGUF file brings a tokenizer that Skein does not read.
 * @throws SkeinError `model-missing` that says what to put beside the file.
 */
export async function requireTokenizer(
  source: FileSource,
  ggufFile: string,
  signal?: AbortSignal,
): Promise<void> {
  if ((await source.sizeBytes(TOKENIZER_FILE, signal)) !== null) return;
  throw new SkeinError(
    'model-missing',
    `${source.description} has ${ggufFile} but no tokenizer.json. Put tokenizer.json and tokenizer_config.json of the model it was made ` +
      "from beside it; they are in that model's repository on the hub.",
    { data: { file: describeFile(source, TOKENIZER_FILE) } },
  );
}
