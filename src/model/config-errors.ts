import { SkeinError } from '../protocol/errors.ts';

const MAX_SHOWN_CHARACTERS = 120;

/** A value from a file, short enough for a message. */
export function show(value: unknown): string {
  if (value === undefined) return 'absent';
  if (typeof value === 'number') return String(value);
  const text = JSON.stringify(value);
  return text.length > MAX_SHOWN_CHARACTERS ? `${text.slice(0, MAX_SHOWN_CHARACTERS)}…` : text;
}

/** A model that is what it says, but not one Skein runs. */
export function unsupported(file: string, field: string, value: unknown, supported: string): SkeinError {
  return new SkeinError(
    'model-unsupported',
    `${file}: "${field}" is ${show(value)}. Skein runs models where it is ${supported}; choose another model.`,
    { data: { file, field, value: show(value) } },
  );
}

/** A file that does not say what it must. */
export function corrupt(file: string, field: string, found: string, expected: string): SkeinError {
  return new SkeinError(
    'model-corrupt',
    `${file}: "${field}" is ${found}, expected ${expected}. Download the model again, or repair the file.`,
    { data: { file, field } },
  );
}
