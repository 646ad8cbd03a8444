import fc from 'fast-check';
import { expect, test } from 'vitest';
import { apiProblem } from '../../../../src/client/api/api-problem.ts';
import { parseEmbeddingsRequest } from '../../../../src/client/api/embeddings-request.ts';
import { parseCountTokens, parseMessagesRequest } from '../../../../src/client/api/messages-request.ts';
import { parseResponsesRequest } from '../../../../src/client/api/responses-request.ts';

const TOOL = { name: 'add', description: 'Adds.' };
const PROMPT = {
  model: 'skein-tiny',
  system: [{ type: 'text', text: 'Be brief.' }],
  messages: [
    { role: 'user', content: [{ type: 'text', text: '1+2?' }] },
    {
      role: 'assistant',
      content: [
        { type: 'thinking', thinking: 'Hm', signature: '' },
        { type: 'tool_use', id: 't', name: 'add', input: {} },
      ],
    },
    {
      role: 'user',
      content: [{ type: 'tool_result', tool_use_id: 't', content: [{ type: 'text', text: '3' }] }],
    },
  ],
  tools: [{ ...TOOL, input_schema: { type: 'object', properties: {} } }],
  tool_choice: { type: 'tool', name: 'add' },
  thinking: { type: 'enabled', budget_tokens: 1024 },
};
const REQUESTS: readonly [string, (body: unknown) => unknown, object][] = [
  [
    'responses',
    parseResponsesRequest,
    {
      model: 'skein-tiny',
      input: [
        { role: 'user', content: [{ type: 'input_text', text: 'Hi' }] },
        { type: 'reasoning', summary: [], content: [{ type: 'reasoning_text', text: 'Hm' }] },
        { type: 'function_call', call_id: 'c', name: 'add', arguments: '{}' },
        { type: 'function_call_output', call_id: 'c', output: '3' },
      ],
      tools: [{ type: 'function', ...TOOL, parameters: { type: 'object' } }],
      tool_choice: { type: 'function', name: 'add' },
      text: { format: { type: 'json_schema', name: 'x', schema: { type: 'object' } } },
      reasoning: { effort: 'low' },
      metadata: { a: 'b' },
      include: ['message.output_text.logprobs'],
      logit_bias: { 17: 1 },
      temperature: 1,
    },
  ],
  ['messages', parseMessagesRequest, { ...PROMPT, max_tokens: 5000, stop_sequences: ['x'], top_k: 3 }],
  ['count_tokens', parseCountTokens, PROMPT],
  ['embeddings', parseEmbeddingsRequest, { model: 'skein-tiny', input: [[1, 2], [3]], dimensions: 4 }],
];

const HOSTILE = fc.oneof(
  fc.jsonValue({ maxDepth: 3 }),
  fc.constantFrom<unknown>(
    '__proto__',
    'constructor',
    'toString',
    -0,
    1e308,
    -1,
    0.5,
    '',
    '\uD800',
    [[]],
    {},
    [null],
  ),
  fc.constant('x'.repeat(100_000)),
);

/** Every place in a value: the keys to it. */
function placesOf(value: unknown): string[][] {
  if (typeof value !== 'object' || value === null) return [[]];
  return [
    [],
    ...Object.entries(value).flatMap(([key, item]) => placesOf(item).map((place) => [key, ...place])),
  ];
}

/** With something else at the place, or nothing, or one more field beside it. */
function mutated(
  value: unknown,
  [key, ...rest]: readonly string[],
  other: unknown,
  extra: string | null,
): unknown {
  if (key === undefined) {
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    return extra !== null && isObject
      ? (JSON.parse(JSON.stringify({ ...value, [extra]: other })) as unknown)
      : other;
  }
  if (Array.isArray(value)) {
    return value.map((item: unknown, index) =>
      String(index) === key ? mutated(item, rest, other, extra) : item,
    );
  }
  const fields = value as Record<string, unknown>;
  return { ...fields, [key]: mutated(fields[key], rest, other, extra) };
}

test.each(REQUESTS)('what is wrong with a body of %s is the fault of a parameter', (_, parse, whole) => {
  expect(() => parse(whole)).not.toThrow();
  let refused = 0;
  fc.assert(
    fc.property(
      fc.constantFrom(...placesOf(whole)),
      HOSTILE,
      fc.option(fc.constantFrom('extra', '__proto__', 'type', 'constructor')),
      (place, other, extra) => {
        const body = mutated(whole, place, other, extra);
        try {
          parse(body);
        } catch (thrown) {
          refused += 1;
          const { status, message, param } = apiProblem(thrown);
          expect(status).toBe(400);
          expect(message.length).toBeLessThan(700);
          if (param === null) expect(message).toMatch(/^The body /);
        }
      },
    ),
    { numRuns: 2000, seed: 6 },
  );
  expect(refused).toBeGreaterThan(1000);
});
