import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { chatRequestSchema, parseChatRequest } from '../../../../src/client/api/chat-request.ts';
import {
  completionRequestSchema,
  parseCompletionRequest,
} from '../../../../src/client/api/completion-request.ts';
import { embeddingsSchema, parseEmbeddingsRequest } from '../../../../src/client/api/embeddings-request.ts';
import {
  countTokensSchema,
  messagesBodySchema,
  parseCountTokens,
  parseMessagesRequest,
} from '../../../../src/client/api/messages-request.ts';
import { parseResponsesRequest, responsesSchema } from '../../../../src/client/api/responses-request.ts';

type Json = Record<string, unknown>;

interface Row {
  /** `tools[].type` */
  readonly parameter: string;
  readonly example: Json;
  readonly here: string;
}

interface Api {
  readonly table: string;
  readonly base: Json;
  readonly parse: (body: unknown) => unknown;
  readonly entries: object;
  /** Where a client says which parameters there are. */
  readonly declared: {
    readonly file: string;
    readonly interface: string;
    readonly headers?: readonly string[];
  };
}

const user = [{ role: 'user', content: 'Hello' }];
const APIS: readonly Api[] = [
  {
    table: 'chat',
    base: { model: 'skein-tiny', messages: user, seed: 1 },
    parse: parseChatRequest,
    entries: chatRequestSchema.entries,
    declared: {
      file: 'openai/resources/chat/completions/completions.d.ts',
      interface: 'ChatCompletionCreateParamsBase',
    },
  },
  {
    table: 'completions',
    base: { model: 'skein-tiny', prompt: 'Hello', seed: 1 },
    parse: parseCompletionRequest,
    entries: completionRequestSchema.entries,
    declared: { file: 'openai/resources/completions.d.ts', interface: 'CompletionCreateParamsBase' },
  },
  {
    table: 'responses',
    base: { model: 'skein-tiny', input: 'Hello', seed: 1 },
    parse: parseResponsesRequest,
    entries: responsesSchema.entries,
    declared: { file: 'openai/resources/responses/responses.d.ts', interface: 'ResponseCreateParamsBase' },
  },
  {
    table: 'messages',
    base: { model: 'skein-tiny', messages: user, max_tokens: 50, seed: 1 },
    parse: parseMessagesRequest,
    entries: messagesBodySchema.entries,
    declared: {
      file: '@anthropic-ai/sdk/resources/messages/messages.d.ts',
      interface: 'MessageCreateParamsBase',
      headers: ['user_profile_id', 'workspace_id'],
    },
  },
  {
    table: 'embeddings',
    base: { model: 'skein-tiny', input: 'Hello' },
    parse: parseEmbeddingsRequest,
    entries: embeddingsSchema.entries,
    declared: { file: 'openai/resources/embeddings.d.ts', interface: 'EmbeddingCreateParams' },
  },
];

const DOCS = readFileSync('docs/api.md', 'utf8');

/** The table after its mark. */
function rowsOf(table: string): Row[] {
  const [, after = ''] = DOCS.split(`<!-- parameters: ${table} -->`);
  const lines = after.trimStart().split('\n');
  const end = lines.findIndex((line) => !line.startsWith('|'));
  return lines.slice(2, end === -1 ? lines.length : end).map((line) => {
    const cells = /^\| `([^`]+)`(?: ⁺)? +\| `(.+)` +\| (\w+) +\|/.exec(line);
    if (cells === null) throw new Error(`docs/api.md has a row in another form: ${line}`);
    const [, parameter = '', example = '', here = ''] = cells;
    return { parameter, example: JSON.parse(`{${example}}`) as Json, here };
  });
}

/** The body with another value of the parameter, wherever it is; without it where there is none. */
function edited(
  body: unknown,
  [key = '', ...rest]: readonly string[],
  edit: (value: unknown) => unknown,
): unknown {
  if (key === '[]') return Array.isArray(body) ? body.map((item) => edited(item, rest, edit)) : body;
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return body;
  const { [key]: value, ...others } = body as Json;
  if (value === undefined) return others;
  const other = rest.length === 0 ? edit(value) : edited(value, rest, edit);
  return other === undefined ? others : { ...others, [key]: other };
}

const pathOf = (parameter: string) => parameter.split(/\.|(?=\[\])/);

function oneMore(value: unknown): number {
  if (typeof value === 'number') return value + 1;
  throw new Error(`${JSON.stringify(value)} is no number.`);
}

function outcome(parse: () => unknown): { value?: unknown; param?: unknown; message?: string } {
  try {
    return { value: parse() };
  } catch (error) {
    const { code, data, message } = error as { code: string; data: { param: unknown }; message: string };
    expect(code).toBe('bad-argument');
    return { param: data.param, message };
  }
}

/** What a client's type has, by its text. */
function declaredParameters({ file, interface: name, headers = [] }: Api['declared']): string[] {
  const types = readFileSync(`node_modules/${file}`, 'utf8').replace(/\/\*\*.*?\*\//gs, '');
  const body = new RegExp(`^export interface ${name} \\{\\n(.*?)^\\}`, 'ms').exec(types)?.[1] ?? '';
  return [...body.matchAll(/^ {4}(\w+)\??:/gm)].flatMap(([, key = '']) =>
    headers.includes(key) ? [] : [key],
  );
}

describe.each(APIS)('the table of $table', ({ table, base, parse, entries, declared }) => {
  const rows = rowsOf(table);
  const told = new Set(rows.map(({ parameter }) => pathOf(parameter)[0]));

  test('has every parameter that is known here, and that the client knows', () => {
    const inClient = declaredParameters(declared);
    expect(inClient.length).toBeGreaterThan(3);
    expect([...told].sort()).toEqual([...new Set([...Object.keys(entries), ...inClient, ...told])].sort());
    expect(Object.keys(entries).sort()).toEqual([...told].sort());
  });

  test.each(rows)('$parameter is $here', ({ parameter, example, here }) => {
    const path = pathOf(parameter);
    const given = outcome(() => parse({ ...base, ...example }));
    const left = outcome(() => parse(edited({ ...base, ...example }, path, () => undefined)));
    switch (here) {
      case 'supported':
      case 'checked':
        expect(given.message).toBeUndefined();
        // It changes the question: against its absence, or where it is required, against another.
        if (left.message === undefined) expect(given.value).not.toEqual(left.value);
        else expect(given.value).not.toEqual(parse(base));
        break;
      case 'ignored':
        expect(given.message).toBeUndefined();
        // One that something else requires is changed instead.
        if (left.message === undefined) expect(given.value).toEqual(left.value);
        else expect(parse(edited({ ...base, ...example }, path, oneMore))).toEqual(given.value);
        break;
      case 'refused':
        expect(String(given.param).replace(/\[\d+\]/g, '[]')).toBe(parameter);
        expect(given.message).not.toMatch(/that this endpoint knows/);
        break;
      default:
        throw new Error(`${here} is nothing that a parameter can be.`);
    }
  });
});

test('what counting tokens takes is what the docs say', () => {
  const [, sentence = ''] = /`\/v1\/messages\/count_tokens` takes (.*?) of these\./s.exec(DOCS) ?? [];
  const named = [...sentence.matchAll(/`(\w+)`/g)].map(([, name]) => name);
  expect(named.sort()).toEqual(Object.keys(countTokensSchema.entries).sort());
  const rows = rowsOf('messages').filter(({ parameter }) => named.includes(pathOf(parameter)[0] ?? ''));
  expect(rows.length).toBeGreaterThan(named.length);
  for (const { example, here } of rows) {
    const body = edited({ model: 'skein-tiny', messages: user, ...example }, ['max_tokens'], () => undefined);
    expect(outcome(() => parseCountTokens(body)).message === undefined).toBe(here !== 'refused');
  }
});

test('the bodies of the examples are taken', () => {
  const PARSERS: Readonly<Record<string, (body: unknown) => unknown>> = {
    '/v1/chat/completions': parseChatRequest,
    '/v1/responses': parseResponsesRequest,
  };
  const examples = [...DOCS.matchAll(/curl[^\n]* http:\/\/localhost:3000(\S+)[^\n]* -d '([^']*)'/g)];
  expect(examples).toHaveLength(2);
  for (const [, path = '', body = ''] of examples)
    expect(() => PARSERS[path]?.(JSON.parse(body))).not.toThrow();
});
