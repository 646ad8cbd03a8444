import { SkeinError } from '../../protocol/errors.ts';

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
