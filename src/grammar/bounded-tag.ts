import { isJsonObject } from '../model/json.ts';
import type { JsonObject } from '../model/json.ts';
import { keptSchema } from './kept-schema.ts';
import type { GrammarLibrary } from './xgrammar.ts';

const ITEM_AND_KEY_SEPARATORS: [string, string] = [', ', ': '];

/**
 * The structural tag, with each JSON schema as a grammar that has no room for more than one space between two parts: the library's
 * own lets any white space come, and a model may never stop to write it.
 * @throws what the library throws for a schema that it does not take. What is no structural tag stays as it is, to be refused by it.
 */
export async function boundedTag(structuralTag: string, { Grammar }: GrammarLibrary): Promise<string> {
  const tag = parsed(structuralTag);
  if (!isJsonObject(tag)) return structuralTag;
  return JSON.stringify({ ...tag, format: await bounded(tag['format']) });

  async function bounded(format: unknown): Promise<unknown> {
    if (!isJsonObject(format)) return format;
    if (format['type'] === 'json_schema' && isSchema(format['json_schema'])) {
      const rules = new StandIns();
      const schema = JSON.stringify(keptSchema(format['json_schema'], (rule) => rules.add(rule)));
      const grammar = await Grammar.fromJSONSchema(schema, false, -1, ITEM_AND_KEY_SEPARATORS, true);
      const text = readable(grammar.toString());
      grammar.dispose();
      return { type: 'grammar', grammar: rules.putInto(text) };
    }
    const parts: JsonObject = {
      ...('content' in format && { content: await bounded(format['content']) }),
      ...('elements' in format && { elements: await boundedAll(format['elements']) }),
      ...('tags' in format && { tags: await boundedAll(format['tags']) }),
    };
    return { ...format, ...parts };
  }

  async function boundedAll(formats: unknown): Promise<unknown> {
    if (!Array.isArray(formats)) return formats;
    const all: unknown[] = [];
    for (const format of formats) all.push(await bounded(format));
    return all;
  }
}

/** Rules that no JSON schema can say, and the strings that stand for them until the schema is a grammar; nobody can guess them. */
class StandIns {
  readonly #name = crypto.randomUUID();
  readonly #rules: string[] = [];

  add(rule: string): string {
    return `${this.#name}:${this.#rules.push(rule) - 1}`;
  }

  putInto(grammar: string): string {
    return grammar.replace(new RegExp(`"\\\\"${this.#name}:(\\d+)\\\\""`, 'g'), (literal, index: string) => {
      return this.#rules[Number(index)] ?? literal;
    });
  }
}

/** The library writes `\xdf` for a character, and reads the digits behind it as of the same: those of `\u` are always four. */
function readable(grammar: string): string {
  return grammar.replace(/\\(?:x([0-9a-fA-F]{2})|[^])/g, (escape, digits?: string) =>
    digits === undefined ? escape : `\\u00${digits}`,
  );
}

function isSchema(schema: unknown): boolean {
  return typeof schema === 'boolean' || isJsonObject(schema);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
