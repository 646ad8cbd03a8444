import type { FunctionTool, ResponseInput } from 'openai/resources/responses/responses';
import { expect, it } from 'vitest';
import { MODEL, openai } from './clients.ts';
import { GOLDEN_ANSWERS, goldenAnswer } from './golden.ts';
import { TOOL_CASES, TOOLS } from './tools.ts';

const client = openai();
const DAYS = goldenAnswer('List the days of the week.');

const tools = Object.values(TOOLS).map(({ function: { name, description, parameters } }): FunctionTool => {
  return {
    type: 'function',
    name,
    description: description ?? null,
    parameters: { ...parameters },
    strict: false,
  };
});

it.each(GOLDEN_ANSWERS)('answers "$question" as golden.json does', async (golden) => {
  const response = await client.responses.create({ model: MODEL, temperature: 0, input: golden.question });
  expect(response.status).toBe('completed');
  expect(response.output_text).toBe(golden.text);
  expect(response.usage).toMatchObject({
    input_tokens: golden.promptIds.length,
    output_tokens: golden.tokenCount,
  });
});

it("streams to the client's own helper", async () => {
  const types: string[] = [];
  let text = '';
  const stream = client.responses.stream({ model: MODEL, temperature: 0, input: DAYS.question });
  for await (const event of stream) {
    types.push(event.type);
    if (event.type === 'response.output_text.delta') text += event.delta;
  }
  const response = await stream.finalResponse();
  expect(response.status).toBe('completed');
  expect(response.output_text).toBe(DAYS.text);
  expect(text).toBe(DAYS.text);
  expect(types.slice(0, 2)).toEqual(['response.created', 'response.in_progress']);
  expect(types.at(-1)).toBe('response.completed');
});

it.each(TOOL_CASES)('calls $name, and answers with what it says', async (tool) => {
  const input: ResponseInput = [{ role: 'user', content: tool.question }];
  const settings = { model: MODEL, temperature: 0, max_output_tokens: 200, tools };
  const asked = await client.responses.create({ ...settings, input });
  const [call, ...others] = asked.output;
  expect(others).toEqual([]);
  if (call?.type !== 'function_call') throw new Error('There is no call.');
  expect(call.name).toBe(tool.name);
  expect(JSON.parse(call.arguments)).toEqual(tool.arguments);
  const output = { type: 'function_call_output' as const, call_id: call.call_id, output: tool.result };
  const answered = await client.responses.create({ ...settings, input: [...input, call, output] });
  expect(answered.output_text).toBe(tool.answer);
});

it('streams a call', async () => {
  const [tool] = TOOL_CASES;
  if (tool === undefined) throw new Error('There is no case.');
  let pieces = '';
  const stream = client.responses.stream({ model: MODEL, temperature: 0, input: tool.question, tools });
  for await (const event of stream) {
    if (event.type === 'response.function_call_arguments.delta') pieces += event.delta;
  }
  const response = await stream.finalResponse();
  expect(response.output).toMatchObject([{ type: 'function_call', name: tool.name, arguments: pieces }]);
  expect(JSON.parse(pieces)).toEqual(tool.arguments);
});

it('says that an answer is not whole', async () => {
  const response = await client.responses.create({
    model: MODEL,
    temperature: 0,
    input: DAYS.question,
    max_output_tokens: 3,
  });
  expect(response).toMatchObject({
    status: 'incomplete',
    incomplete_details: { reason: 'max_output_tokens' },
  });
});
