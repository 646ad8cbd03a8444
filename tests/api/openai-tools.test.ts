import type { ChatCompletionMessageParam } from 'openai/resources/chat/completions';
import { expect, it } from 'vitest';
import { MODEL, openai } from './clients.ts';
import { TOOL_CASES, toolNamed, TOOLS } from './tools.ts';
import type { ToolCase } from './tools.ts';

const client = openai();
const tools = Object.values(TOOLS);
const WEATHER = toolNamed('get_weather');

function ask(question: string) {
  return {
    model: MODEL,
    temperature: 0,
    max_completion_tokens: 200,
    messages: [{ role: 'user', content: question }] as ChatCompletionMessageParam[],
  };
}

it.each(TOOL_CASES)('calls $name, and answers with what it says', async (tool) => {
  const question = { ...ask(tool.question), tools };
  const asked = await client.chat.completions.create(question);
  const [choice] = asked.choices;
  expect(choice?.finish_reason).toBe('tool_calls');
  const [call, ...others] = choice?.message.tool_calls ?? [];
  expect(others).toEqual([]);
  if (choice === undefined || call?.type !== 'function') throw new Error('There is no call.');
  expect(call.function.name).toBe(tool.name);
  expect(JSON.parse(call.function.arguments)).toEqual(tool.arguments);

  const answered = await client.chat.completions.create({
    ...question,
    messages: [
      ...question.messages,
      choice.message,
      { role: 'tool', tool_call_id: call.id, content: tool.result },
    ],
  });
  expect(answered.choices[0]).toMatchObject({ finish_reason: 'stop', message: { content: tool.answer } });
});

/** The client's own loop: it asks, runs the function, and asks again. */
function runTools(tool: ToolCase) {
  const { name, description, parameters } = TOOLS[tool.name].function;
  const given: unknown[] = [];
  const runnable = {
    type: 'function' as const,
    function: {
      name,
      description: description ?? '',
      parameters: { ...parameters },
      parse: (text: string): object => JSON.parse(text) as object,
      function: (values: object) => {
        given.push(values);
        return tool.result;
      },
    },
  };
  return { given, request: { ...ask(tool.question), tools: [runnable] } };
}

it.each(TOOL_CASES)("has $name called by the client's own loop", async (tool) => {
  const { given, request } = runTools(tool);
  expect(await client.chat.completions.runTools(request).finalContent()).toBe(tool.answer);
  expect(given).toEqual([tool.arguments]);
});

it.each(TOOL_CASES)("streams calls of $name to the client's own loop", async (tool) => {
  const { given, request } = runTools(tool);
  const runner = client.chat.completions.runTools({ ...request, stream: true });
  expect(await runner.finalContent()).toBe(tool.answer);
  expect(given).toEqual([tool.arguments]);
});

it('streams a call in pieces: its name first, then its arguments', async () => {
  const names: string[] = [];
  const pieces: string[] = [];
  const stream = client.chat.completions.stream({ ...ask(WEATHER.question), tools });
  stream.on('chunk', ({ choices }) => {
    for (const call of choices.flatMap(({ delta }) => delta.tool_calls ?? [])) {
      if (call.function?.name !== undefined) names.push(call.function.name);
      if (call.function?.arguments) pieces.push(call.function.arguments);
    }
  });
  const completion = await stream.finalChatCompletion();
  expect(completion.choices[0]?.finish_reason).toBe('tool_calls');
  expect(names).toEqual([WEATHER.name]);
  expect(pieces.length).toBeGreaterThan(1);
  expect(JSON.parse(pieces.join(''))).toEqual(WEATHER.arguments);
});

it('answers in words where it may not call', async () => {
  const completion = await client.chat.completions.create({
    ...ask(WEATHER.question),
    tools,
    tool_choice: 'none',
  });
  expect(completion.choices[0]?.message.tool_calls).toBeUndefined();
  expect(completion.choices[0]?.finish_reason).not.toBe('tool_calls');
});

it('answers in words where nothing calls for a tool', async () => {
  const completion = await client.chat.completions.create({ ...ask('Spell window.'), tools });
  expect(completion.choices[0]?.message).toMatchObject({ role: 'assistant' });
  expect(completion.choices[0]?.finish_reason).toBe('stop');
  expect(completion.choices[0]?.message.tool_calls).toBeUndefined();
});

it('calls a tool where it has to, whatever was asked', async () => {
  const completion = await client.chat.completions.create({
    ...ask('Hello!'),
    tools,
    tool_choice: 'required',
    parallel_tool_calls: false,
  });
  const [choice] = completion.choices;
  expect(choice?.finish_reason).toBe('tool_calls');
  expect(choice?.message.tool_calls).toHaveLength(1);
  const [call] = choice?.message.tool_calls ?? [];
  if (call?.type !== 'function') throw new Error('There is no call.');
  expect(Object.keys(TOOLS)).toContain(call.function.name);
  expect(JSON.parse(call.function.arguments)).toBeTypeOf('object');
});

it.each(TOOL_CASES)(
  'calls $name where it is named, whatever was asked',
  async ({ name, arguments: usual }) => {
    const completion = await client.chat.completions.create({
      ...ask('Hello!'),
      tools,
      tool_choice: { type: 'function', function: { name } },
      parallel_tool_calls: false,
    });
    const [call] = completion.choices[0]?.message.tool_calls ?? [];
    if (call?.type !== 'function') throw new Error('There is no call.');
    expect(call.function.name).toBe(name);
    const values = JSON.parse(call.function.arguments) as Record<string, unknown>;
    expect(Object.keys(values)).toEqual(expect.arrayContaining(Object.keys(usual)));
    for (const [key, value] of Object.entries(usual)) expect(values[key]).toBeTypeOf(typeof value);
  },
);
