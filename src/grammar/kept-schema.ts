import { isJsonObject } from '../model/json.ts';
import type { JsonObject } from '../model/json.ts';
import { integerRule, numberRule } from './number-rules.ts';

/** Keywords whose values are no schemas, */
const VALUES = new Set(['const', 'enum', 'default', 'examples', 'required']);
/** and whose values are schemas by name, whatever the names are. */
const MAPS = new Set(['properties', 'patternProperties', '$defs', 'definitions', 'dependentSchemas']);

/**
 * The schema in words that xgrammar 0.1.27 keeps to. Its own ranges let numbers beyond them through, and its strings of bounded length
 * may have raw control characters. What comes of it is never less strict: fractions stay between whole numbers of the range, and
 * strings of bounded length have no escapes.
 * @param standIn a string that stands for a rule of our own in the grammar that is made of the schema.
 */
export function keptSchema(schema: unknown, standIn: (rule: string) => string): unknown {
  const kept = (part: unknown): unknown => {
    if (Array.isArray(part)) return part.map(kept);
    if (!isJsonObject(part)) return part;
    const parts = Object.fromEntries(
      Object.entries(part).map(([key, value]) => [
        key,
        VALUES.has(key) ? value : MAPS.has(key) && isJsonObject(value) ? named(value) : kept(value),
      ]),
    );
    const rule = rangeRule(parts);
    return rule === null ? boundedString(parts) : { const: standIn(rule) };
  };
  const named = (schemas: JsonObject) =>
    Object.fromEntries(Object.entries(schemas).map(([name, part]) => [name, kept(part)]));
  return kept(schema);
}

/** Of a number with two bounds; null for everything else, and where the bounds leave nothing that can be written. */
function rangeRule(schema: JsonObject): string | null {
  if ('enum' in schema || 'const' in schema) return null;
  const { type, minimum, maximum, exclusiveMinimum, exclusiveMaximum } = schema;
  if (type === 'integer') {
    const first = Math.max(
      Math.ceil(bound(minimum, -Infinity)),
      Math.floor(bound(exclusiveMinimum, -Infinity)) + 1,
    );
    const last = Math.min(
      Math.floor(bound(maximum, Infinity)),
      Math.ceil(bound(exclusiveMaximum, Infinity)) - 1,
    );
    return Number.isSafeInteger(first) && Number.isSafeInteger(last) ? integerRule(first, last) : null;
  }
  if (type !== 'number' || exclusiveMinimum !== undefined || exclusiveMaximum !== undefined) return null;
  const [least, most] = [bound(minimum, -Infinity), bound(maximum, Infinity)];
  const isSafe = Number.isSafeInteger(Math.floor(least)) && Number.isSafeInteger(Math.ceil(most));
  return isSafe ? numberRule(least, most) : null;
}

function bound(value: unknown, without: number): number {
  return typeof value === 'number' ? value : without;
}

function boundedString(schema: JsonObject): JsonObject {
  const { type, minLength, maxLength, pattern } = schema;
  if (type !== 'string' || pattern !== undefined || typeof maxLength !== 'number') return schema;
  const least = typeof minLength === 'number' ? minLength : 0;
  return { type, pattern: `^[^\\x00-\\x1f"\\\\]{${least},${maxLength}}$` };
}
