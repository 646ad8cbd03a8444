import { isJsonObject } from '../model/json.ts';

/** Whole numbers that are listed one by one; wider ranges are the library's. */
const MAX_LISTED = 64;
/** Keywords whose values are no schemas. */
const VALUES = new Set(['const', 'enum', 'default', 'examples', 'required']);

/**
 * The schema in words that xgrammar 0.1.27 keeps to. Its own ranges of whole numbers let some others through, its fractional bounds
 * take any character for the point, negative ones let fractions beyond them through, and its strings of bounded length may have raw control characters. What comes of it is never less
 * strict: fractional bounds become the whole numbers between them, and strings of bounded length have no escapes.
 */
export function keptSchema(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(keptSchema);
  if (!isJsonObject(schema)) return schema;
  const parts = Object.fromEntries(
    Object.entries(schema).map(([key, value]) => [key, VALUES.has(key) ? value : keptSchema(value)]),
  );
  const { minimum, maximum, minLength, maxLength, type } = parts;
  const hasRange = typeof minimum === 'number' && typeof maximum === 'number';
  const [first, last] = hasRange ? [Math.ceil(minimum), Math.floor(maximum)] : [0, -1];
  if (type === 'integer' && first <= last && last - first < MAX_LISTED) {
    return { enum: Array.from({ length: last - first + 1 }, (_, index) => first + index) };
  }
  if (type === 'number' && first <= last) {
    return { ...parts, minimum: first < 0 && first < last ? first + 1 : first, maximum: last };
  }
  if (type === 'string' && parts['pattern'] === undefined && typeof maxLength === 'number') {
    const least = typeof minLength === 'number' ? minLength : 0;
    return { type, pattern: `^[^\\x00-\\x1f"\\\\]{${least},${maxLength}}$` };
  }
  return parts;
}
