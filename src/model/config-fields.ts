import * as v from 'valibot';
import { corrupt, show, unsupported } from './config-errors.ts';

export const positive = v.pipe(v.number('a number'), v.finite('finite'), v.gtValue(0, 'above 0'));
export const flag = v.boolean('true or false');

/** A count of elements. The cap keeps every product of sizes an exact integer. */
export function size(largest: number) {
  return v.pipe(
    v.number('a number'),
    v.safeInteger('a whole number'),
    v.minValue(1, 'at least 1'),
    v.maxValue(largest, `at most ${largest}`),
  );
}

/**
 * @param schema whose messages say what is expected.
 * @param prefix of the field names in messages, for objects inside the config.
 * @throws SkeinError naming the field: `model-unsupported` when it is too large for Skein, else `model-corrupt`.
 */
export function parseFields<Schema extends v.ObjectSchema<v.ObjectEntries, undefined>>(
  schema: Schema,
  value: unknown,
  file: string,
  prefix = '',
): v.InferOutput<Schema> {
  const result = v.safeParse(schema, value);
  if (result.success) return result.output;
  const [issue] = result.issues;
  const field = prefix + (v.getDotPath(issue) ?? '');
  if (issue.type === 'max_value') throw unsupported(file, field, issue.input, issue.message);
  // The object schema itself complains only of a key that is not there.
  throw corrupt(file, field, show(issue.input), issue.type === 'object' ? 'a value' : issue.message);
}
