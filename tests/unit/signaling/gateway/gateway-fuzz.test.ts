import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { hashApiKey } from '../../../../signaling/gateway/api-keys.ts';
import { answerChats } from '../../../../src/client/api/answer-chat.ts';
import type { ApiModel } from '../../../../src/client/api/api-models.ts';
import { LocalHub } from '../../../../src/mesh/local-hub.ts';
import { FolderSource } from '../../../../src/model/folder-source.ts';
import { SkeinError } from '../../../../src/protocol/errors.ts';
import { newPeerId } from '../../../../src/protocol/ids.ts';
import { Tokenizer } from '../../../../src/tokenizer/tokenizer.ts';
import { EMBEDDED_MODEL } from '../../../rig/local-server.ts';
import { card } from '../scheduler/instances.ts';
import { fakeModels, GatewayRig, MODEL_NAME } from './gateway-rig.ts';

/** A requester on a mesh without stages. */
const LONELY = {
  transport: new LocalHub().transport(newPeerId()),
  endRoute: () => undefined,
  now: () => performance.now(),
  /** Time does not pass. */
  sleep: (_ms: number, signal: AbortSignal) =>
    new Promise<void>((_resolve, reject) => {
      signal.addEventListener('abort', () => reject(new Error('aborted')));
    }),
};

const tool = {
  name: 'add',
  description: 'Adds.',
  parameters: { type: 'object', properties: { a: { type: 'number' } } },
};
const schema = { type: 'object', properties: { a: { type: 'string' } } };

/** A body of every endpoint that says much, and is right. */
const BODIES: Readonly<Record<string, object>> = {
  '/v1/chat/completions': {
    model: 'model',
    messages: [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: [{ type: 'text', text: 'Hello' }] },
      {
        role: 'assistant',
        content: null,
        tool_calls: [{ id: 'c1', type: 'function', function: { name: 'add', arguments: '{}' } }],
      },
      { role: 'tool', tool_call_id: 'c1', content: '3' },
    ],
    temperature: 0.5,
    top_p: 0.9,
    n: 2,
    stop: ['a', 'b'],
    seed: 1,
    max_completion_tokens: 20,
    logprobs: true,
    top_logprobs: 3,
    logit_bias: { '5': 1.5 },
    presence_penalty: 0.1,
    frequency_penalty: 0.1,
    response_format: { type: 'json_schema', json_schema: { name: 'x', schema } },
    tools: [{ type: 'function', function: tool }],
    tool_choice: { type: 'function', function: { name: 'add' } },
    parallel_tool_calls: false,
    stream: true,
    stream_options: { include_usage: true },
    metadata: { a: 'b' },
  },
  '/v1/completions': {
    model: 'model',
    prompt: ['Hello', 'there'],
    max_tokens: 5,
    temperature: 0,
    logprobs: 2,
    stop: 'x',
    n: 2,
  },
  '/v1/responses': {
    model: 'model',
    instructions: 'Be brief.',
    input: [{ role: 'user', content: [{ type: 'input_text', text: 'Hello' }] }],
    tools: [{ type: 'function', ...tool }],
    tool_choice: 'auto',
    text: { format: { type: 'json_schema', name: 'x', schema } },
    reasoning: { effort: 'low' },
    max_output_tokens: 10,
    metadata: { a: 'b' },
  },
  '/v1/messages': {
    model: 'model',
    system: [{ type: 'text', text: 'Be brief.' }],
    messages: [
      { role: 'user', content: 'Hello' },
      { role: 'assistant', content: [{ type: 'tool_use', id: 't1', name: 'add', input: {} }] },
      { role: 'user', content: [{ type: 'tool_result', tool_use_id: 't1', content: '3' }] },
    ],
    max_tokens: 10,
    stop_sequences: ['x'],
    temperature: 0.5,
    tools: [{ name: 'add', input_schema: schema }],
    tool_choice: { type: 'auto' },
  },
};

/** And of those that nobody has to be asked for. */
const PLAIN_BODIES: Readonly<Record<string, object>> = {
  '/v1/embeddings': { model: 'model', input: ['Hello'], encoding_format: 'float', dimensions: 8 },
  '/v1/messages/count_tokens': {
    model: 'model',
    system: 'Be brief.',
    messages: [{ role: 'user', content: 'Hello' }],
    tools: [{ name: 'add', input_schema: schema }],
  },
};

/** What the right ones come to where there is no stage. */
const ALONE: Readonly<Record<string, number>> = { '/v1/embeddings': 400, '/v1/messages/count_tokens': 200 };
const NO_ROUTE = 503;

type Path = readonly (string | number)[];

function pathsOf(value: unknown, path: Path = []): Path[] {
  if (typeof value !== 'object' || value === null) return [path];
  return [path, ...Object.entries(value).flatMap(([key, part]) => pathsOf(part, [...path, key]))];
}

/** @returns a copy with something else there; nothing where `undefined` is. */
function replaced(value: unknown, [key, ...rest]: Path, other: unknown): unknown {
  if (key === undefined) return other;
  const copy: unknown = Array.isArray(value) ? [...(value as unknown[])] : { ...(value as object) };
  const parts = copy as Record<string | number, unknown>;
  parts[key] = replaced(parts[key], rest, other);
  return copy;
}

const oddNumbers = fc.constantFrom(
  -1,
  0,
  0.5,
  1e9,
  1e308,
  -1e308,
  2 ** 53,
  Number.MIN_VALUE,
  65_536,
  4294967296,
);
const odd = fc.oneof(
  oddNumbers,
  fc.constantFrom(undefined, null, true, '', 'x', '\u0000', '\ud800', '__proto__', [], {}, [[]], [null]),
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.jsonValue({ maxDepth: 4 }),
  fc.constantFrom(
    { type: 'image_url', image_url: { url: 'data:' } },
    'x'.repeat(10_000),
    Array(2000).fill('x'),
  ),
);

const mutated = (body: object) =>
  fc
    .array(fc.tuple(fc.constantFrom(...pathsOf(body)), odd), { minLength: 1, maxLength: 3 })
    .map((changes) =>
      changes.reduce<unknown>((value, [path, other]) => replacedOrLeft(value, path, other), body),
    );

/** An earlier change may have taken the place away. */
function replacedOrLeft(value: unknown, path: Path, other: unknown): unknown {
  let part = value;
  for (const key of path.slice(0, -1)) {
    if (typeof part !== 'object' || part === null) return value;
    part = (part as Record<string | number, unknown>)[key];
  }
  return typeof part === 'object' && part !== null ? replaced(value, path, other) : value;
}

/** JSON has no word for what is not there. */
function textOf(value: unknown): string {
  return value === undefined ? '' : JSON.stringify(value);
}

/** A whole answer, or a refusal in the shape of the API. */
async function expectInShape(path: string, response: Response, what: unknown): Promise<void> {
  const words = () => `${path} ${textOf(what).slice(0, 2000)}`;
  const text = await response.text();
  if (response.status === 200) return;
  expect(response.status, words()).toBeGreaterThanOrEqual(400);
  expect(response.status, words()).toBeLessThan(500);
  const { error, type } = JSON.parse(text) as { error?: Record<string, unknown>; type?: unknown };
  expect(typeof error?.['message'], words()).toBe('string');
  expect(error?.['message'], words()).not.toBe('');
  if (path.startsWith('/v1/messages'))
    expect([type, typeof error?.['type']], words()).toEqual(['error', 'string']);
  else expect(Object.keys(error ?? {}).sort(), words()).toEqual(['code', 'message', 'param', 'type']);
}

describe('whatever is sent', () => {
  it.each(Object.entries(BODIES))('to %s: what is right is answered', async (path, body) => {
    const response = await new GatewayRig().post(path, body);
    expect([response.status, await response.text()]).toEqual([200, expect.anything()]);
  });

  it.each(Object.entries(BODIES))(
    'to %s with parts that are wrong is answered or refused in shape',
    async (path, body) => {
      const rig = new GatewayRig();
      const statuses = new Map<number, number>();
      await fc.assert(
        fc.asyncProperty(mutated(body), async (changed) => {
          const response = await rig.post(path, textOf(changed));
          statuses.set(response.status, (statuses.get(response.status) ?? 0) + 1);
          await expectInShape(path, response, changed);
        }),
        { numRuns: 400 },
      );
      expect(statuses.get(400)).toBeGreaterThan(100);
    },
  );

  it.each(Object.entries(BODIES))(
    'to %s as bytes that are damaged is refused in shape',
    async (path, body) => {
      const rig = new GatewayRig();
      const whole = new TextEncoder().encode(JSON.stringify(body));
      const damage = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), {
        minLength: 1,
        maxLength: 8,
      });
      await fc.assert(
        fc.asyncProperty(damage, fc.nat(whole.length), async (places, length) => {
          const bytes = whole.slice(0, length % 7 === 0 ? length : whole.length);
          for (const [at, byte] of places) if (at < bytes.length) bytes[at] = byte;
          await expectInShape(path, await rig.post(path, bytes), Buffer.from(bytes).toString('latin1'));
        }),
        { numRuns: 200 },
      );
    },
  );

  it.each(Object.entries({ ...BODIES, ...PLAIN_BODIES }))(
    'to %s is rendered and encoded, or refused in shape',
    async (path, body) => {
      const tokenizer = await Tokenizer.load(new FolderSource(EMBEDDED_MODEL));
      const noRoute = () => Promise.reject(new SkeinError('no-route', 'Nobody is there.'));
      const deps = { ...LONELY, tokenizer, requestRoute: noRoute };
      const model: ApiModel = { card: card({ id: MODEL_NAME }), tokenizer, deps };
      const models = { ...fakeModels(MODEL_NAME), open: () => Promise.resolve(model) };
      const rig = new GatewayRig({ models, answer: answerChats });
      const statuses = new Set<number>();
      await fc.assert(
        fc.asyncProperty(mutated(body), async (changed) => {
          const response = await rig.post(path, textOf(changed));
          statuses.add(response.status);
          if (response.status !== NO_ROUTE) await expectInShape(path, response, changed);
        }),
        { numRuns: 150 },
      );
      expect(statuses).toContain(ALONE[path] ?? NO_ROUTE);
    },
  );

  it('as a key lets nobody in, and breaks nothing', async () => {
    const keys = { keys: () => Promise.resolve([{ name: 'ann', sha256: hashApiKey('ann-key') }]) };
    const rig = new GatewayRig({ keys });
    const printable = fc.string({
      unit: fc.integer({ min: 33, max: 126 }).map((code) => String.fromCharCode(code)),
      maxLength: 80,
    });
    const headers = fc.oneof(
      printable.map((key) => ({ authorization: `Bearer ${key}` })),
      printable.map((key) => ({ 'x-api-key': key })),
      printable.map((authorization) => ({ authorization })),
    );
    await fc.assert(
      fc.asyncProperty(headers, async (wrong) => {
        expect((await rig.chat({}, wrong)).status).toBe(401);
      }),
      { numRuns: 200 },
    );
  });
});
