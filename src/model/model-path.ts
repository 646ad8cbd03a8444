import { SkeinError } from '../protocol/errors.ts';
import type { FileSource } from './file-source.ts';

const MAX_PATH_CHARACTERS = 255;

/**
 * Whether a path stays inside its model folder: segments with forward slashes, none of them empty, `.` or `..`. Such paths come
 * out of downloaded files, so drive letters, schemes, backslashes and control characters are out as well.
 */
export function isInnerPath(path: string): boolean {
  if (path.length > MAX_PATH_CHARACTERS || !/^[^\\:\p{Cc}]+$/u.test(path)) return false;
  return path.split('/').every((segment) => segment !== '' && segment !== '.' && segment !== '..');
}

/** @throws SkeinError `bad-argument` for a path that leaves the folder. */
export function assertInnerPath(path: string, source: FileSource): void {
  if (isInnerPath(path)) return;
  throw new SkeinError(
    'bad-argument',
    `${JSON.stringify(path)} is not a path inside ${source.description}; give one relative to it.`,
    { data: { path } },
  );
}

/** A file as messages name it. */
export function describeFile(source: FileSource, path: string): string {
  return `${source.description}/${path}`;
}

/** @returns `model-missing` for a file that is not there. */
export function missingFile(source: FileSource, path: string, why: string, cause?: unknown): SkeinError {
  return new SkeinError('model-missing', `${describeFile(source, path)} ${why}`, {
    data: { file: describeFile(source, path) },
    cause,
  });
}

/** @returns `model-corrupt` for a file that ends before byte `end`. */
export function shortFile(source: FileSource, path: string, start: number, end: number): SkeinError {
  const file = describeFile(source, path);
  return new SkeinError(
    'model-corrupt',
    `${file} ends before byte ${end}: bytes ${start} to ${end} were asked for. It may be cut off; download it again.`,
    { data: { file, start, end } },
  );
}
