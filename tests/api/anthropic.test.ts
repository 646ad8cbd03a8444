import AnthropicClient from '@anthropic-ai/sdk';
import type { MessageParam, Tool } from '@anthropic-ai/sdk/resources/messages';
import { expect, it } from 'vitest';
import { anthropic, failureOf, MODEL } from './clients.ts';
import { GOLDEN_ANSWERS, goldenAnswer } from './golden.ts';
import { TOOL_CASES, TOOLS } from './tools.ts';

const client = anthropic();
const DAYS = goldenAnswer('List the days of the week.');

function ask(question: string) {
  const messages: MessageParam[] = [{ role: 'user', content: question }];
  return { model: MODEL, max_tokens: 200, temperature: 0, messages };
}

const tools = Object.values(TOOLS).map(({ function: { name, description, parameters } }): Tool => {
  return { name, description: description ?? '', input_schema: { ...parameters, type: 'object' } };
});

it.each(GOLDEN_ANSWERS)('answers "$question" as golden.json does', async (golden) => {
  const message = await client.messages.create(ask(golden.question));
  expect(message).toMatchObject({
    type: 'message',
    role: 'assistant',
    model: MODEL,
    content: [{ type: 'text', text: golden.text }],
    stop_reason: 'end_turn',
    stop_sequence: null,
  });
  const { input_tokens: fresh, cache_read_input_tokens: cached, output_tokens: answered } = message.usage;
  expect(fresh + (cached ?? 0)).toBe(golden.promptIds.length);
  expect(answered).toBe(golden.tokenCount);
});

it("streams to the client's own helper", async () => {
  const pieces: string[] = [];
  const stream = client.messages.stream(ask(DAYS.question)).on('text', (piece) => pieces.push(piece));
  const message = await stream.finalMessage();
  expect(message.content).toMatchObject([{ type: 'text', text: DAYS.text }]);
  expect(message.stop_reason).toBe('end_turn');
  expect(message.usage.output_tokens).toBe(DAYS.tokenCount);
  expect(pieces.length).toBeGreaterThan(1);
  expect(pieces.join('')).toBe(DAYS.text);
});

it.each(TOOL_CASES)('uses $name, and answers with what it says', async (tool) => {
  const question = { ...ask(tool.question), tools };
  const asked = await client.messages.create(question);
  expect(asked.stop_reason).toBe('tool_use');
  const [use, ...others] = asked.content;
  expect(others).toEqual([]);
  if (use?.type !== 'tool_use') throw new Error('There is no use of a tool.');
  expect(use).toMatchObject({ name: tool.name, input: tool.arguments });
  const result = { type: 'tool_result' as const, tool_use_id: use.id, content: tool.result };
  const answered = await client.messages.create({
    ...question,
    messages: [
      ...question.messages,
      { role: 'assistant', content: asked.content },
      { role: 'user', content: [result] },
    ],
  });
  expect(answered.stop_reason).toBe('end_turn');
  expect(answered.content).toMatchObject([{ type: 'text', text: tool.answer }]);
});

it.each(TOOL_CASES)("streams the use of $name to the client's own helper", async (tool) => {
  const pieces: string[] = [];
  const stream = client.messages.stream({ ...ask(tool.question), tools });
  const message = await stream.on('inputJson', (piece) => pieces.push(piece)).finalMessage();
  expect(message.stop_reason).toBe('tool_use');
  expect(message.content).toMatchObject([{ type: 'tool_use', name: tool.name, input: tool.arguments }]);
  expect(JSON.parse(pieces.join(''))).toEqual(tool.arguments);
});

it('uses a tool where it has to, and none where it may not', async () => {
  const question = { ...ask('Hello!'), tools };
  const forced = await client.messages.create({
    ...question,
    tool_choice: { type: 'tool', name: 'add', disable_parallel_tool_use: true },
  });
  expect(forced.content).toMatchObject([
    {
      type: 'tool_use',
      name: 'add',
      input: { a: expect.any(Number) as number, b: expect.any(Number) as number },
    },
  ]);
  const free = await client.messages.create({
    ...question,
    tool_choice: { type: 'none' },
  });
  expect(free.content.map(({ type }) => type)).toEqual(['text']);
});

it('stops at a stop sequence, and says at which', async () => {
  const question = { ...ask(DAYS.question), stop_sequences: ['Sunday', 'Wednesday'] };
  const expected = {
    stop_reason: 'stop_sequence',
    stop_sequence: 'Wednesday',
    content: [{ type: 'text', text: DAYS.text.slice(0, DAYS.text.indexOf('Wednesday')) }],
  };
  expect(await client.messages.create(question)).toMatchObject(expected);
  expect(await client.messages.stream(question).finalMessage()).toMatchObject(expected);
});

it('stops where it has as many tokens as it may have', async () => {
  const message = await client.messages.create({ ...ask(DAYS.question), max_tokens: 3 });
  expect(message).toMatchObject({ stop_reason: 'max_tokens', usage: { output_tokens: 3 } });
});

it('counts the tokens of a question', async () => {
  const { model, messages } = ask(DAYS.question);
  const counted = await client.messages.countTokens({ model, messages });
  expect(counted.input_tokens).toBe(DAYS.promptIds.length);
  const withTools = await client.messages.countTokens({ model, messages, tools });
  expect(withTools.input_tokens).toBeGreaterThan(counted.input_tokens);
});

it('lists its models', async () => {
  const listed = [];
  for await (const { id } of client.models.list()) listed.push(id);
  expect(listed).toEqual([MODEL]);
  expect(await client.models.retrieve(MODEL)).toMatchObject({ id: MODEL, type: 'model' });
});

it("fails with the client's own errors", async () => {
  const hot = await failureOf(client.messages.create({ ...ask('Hello!'), ...{ temperature: 1.5 } }));
  expect(hot).toBeInstanceOf(AnthropicClient.BadRequestError);
  expect(hot).toMatchObject({
    status: 400,
    error: { type: 'error', error: { type: 'invalid_request_error' } },
  });
  expect(String(hot)).toContain('temperature');
  const image = await failureOf(
    client.messages.create({
      ...ask('Hello!'),
      messages: [
        {
          role: 'user',
          content: [{ type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'AAAA' } }],
        },
      ],
    }),
  );
  expect(image).toBeInstanceOf(AnthropicClient.BadRequestError);
  const missing = await failureOf(client.messages.create({ ...ask('Hello!'), model: 'none-such' }));
  expect(missing).toBeInstanceOf(AnthropicClient.NotFoundError);
  expect(missing).toMatchObject({ status: 404, error: { error: { type: 'not_found_error' } } });
});
