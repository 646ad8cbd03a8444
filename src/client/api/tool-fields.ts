import * as v from 'valibot';
import type { JsonSchema, ToolDefinition } from './chat-query.ts';
import { ignored, optional } from './request-body.ts';

/** What OpenAI's API has. */
export const MAX_TOOLS = 128;
/** Deeper schemas than this are an attack on whoever walks them. */
export const MAX_SCHEMA_DEPTH = 64;

/** Of functions and of response formats. */
export const functionName = v.pipe(
  v.string(),
  v.check(
    (name) => /^[a-zA-Z0-9_-]{1,64}$/.test(name),
    'must have 1 to 64 letters, digits, underscores or dashes',
  ),
);

/** A JSON schema that is an object. What it says is checked by the grammar engine. */
export const jsonSchemaObject = v.pipe(
  v.custom<Readonly<Record<string, unknown>>>(
    (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
    'must be a JSON schema, which is an object',
  ),
  v.check(
    (schema) => isNotDeeperThan(schema, MAX_SCHEMA_DEPTH),
    `is nested deeper than ${MAX_SCHEMA_DEPTH} levels. Write a flatter schema`,
  ),
);

/** A function as OpenAI's APIs describe it. Calls keep to the parameters whether or not `strict` is set. */
export const functionEntries = {
  name: functionName,
  description: optional(v.string()),
  parameters: optional(jsonSchemaObject),
  strict: ignored(v.boolean()),
} as const;

export function toolOf(tool: {
  readonly name: string;
  readonly description?: string | null | undefined;
  readonly parameters?: JsonSchema | null | undefined;
}): ToolDefinition {
  const { name, description, parameters } = tool;
  return {
    name,
    ...(typeof description === 'string' && { description }),
    ...(parameters !== null && parameters !== undefined && { parameters }),
  };
}

/** @returns the name that two tools have; null where each has its own. */
export function repeatedName(tools: readonly ToolDefinition[]): string | null {
  const names = new Set<string>();
  for (const { name } of tools) {
    if (names.has(name)) return name;
    names.add(name);
  }
  return null;
}

/** Looks level by level, so that no depth costs stack. */
export function isNotDeeperThan(value: unknown, mostLevels: number): boolean {
  let level: unknown[] = [value];
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > mostLevels) return false;
    level = level.flatMap((item): unknown[] =>
      typeof item === 'object' && item !== null ? Object.values(item) : [],
    );
  }
  return true;
}
