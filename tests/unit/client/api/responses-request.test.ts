import { describe, expect, test } from 'vitest';
import { parseResponsesRequest } from '../../../../src/client/api/responses-request.ts';
import { responseEvents, wholeResponse } from '../../../../src/client/api/responses-response.ts';
import { call, HEAD, reasoning, scripted, text } from './scripted-answer.ts';

const BASE = { model: 'skein-tiny', input: 'Hello' };
const GET_TIME = { type: 'function', name: 'get_time', parameters: { type: 'object', properties: {} } };
const ADD = {
  type: 'function',
  name: 'add',
  description: 'Adds.',
  parameters: { type: 'object' },
  strict: true,
};

const queryOf = (params: object) => parseResponsesRequest({ ...BASE, ...params }).query;
const messagesOf = (params: object) => {
  const { prompt } = queryOf(params);
  return prompt.kind === 'chat' ? prompt.messages : [];
};
/** The parameter at fault, and the words. */
function refusalOf(params: object): [unknown, string] {
  try {
    parseResponsesRequest({ ...BASE, ...params });
  } catch (error) {
    const { code, data, message } = error as { code: string; data: { param: unknown }; message: string };
    expect(code).toBe('bad-argument');
    return [data.param, message];
  }
  throw new Error(`accepted: ${JSON.stringify(params)}`);
}

describe('input of /v1/responses', () => {
  test('is a message of the user, after the instructions', () => {
    expect(messagesOf({ instructions: 'Be brief.' })).toEqual([
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'Hello' },
    ]);
  });

  test('is messages, with or without a type, whose parts are one text', () => {
    const input = [
      { role: 'developer', content: 'Be brief.' },
      {
        type: 'message',
        role: 'user',
        content: [
          { type: 'input_text', text: 'Hel' },
          { type: 'input_text', text: 'lo' },
        ],
      },
      {
        type: 'message',
        role: 'assistant',
        content: [{ type: 'output_text', text: 'Hi.', annotations: [] }],
      },
      { role: 'user', content: 'Bye' },
    ];
    expect(messagesOf({ input })).toEqual([
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: 'Hello' },
      { role: 'assistant', content: 'Hi.' },
      { role: 'user', content: 'Bye' },
    ]);
  });

  test('takes back the output of a response as it was, and what its calls gave', async () => {
    const pieces = [
      reasoning('Two calls.'),
      text('Let me see.'),
      ...call(0, 'get_time', '{}'),
      ...call(1, 'add', '{"a": 1, "b": 2}'),
    ];
    const { output } = await wholeResponse(
      parseResponsesRequest({ ...BASE, tools: [GET_TIME, ADD] }),
      scripted(pieces, { end: 'tool-calls' }),
      HEAD,
    );
    const input = [
      { role: 'user', content: 'What time is it, and what is 1 + 2?' },
      ...output,
      { type: 'function_call_output', call_id: 'call_0', output: '12:00' },
      { type: 'function_call_output', call_id: 'call_1', output: [{ type: 'input_text', text: '3' }] },
    ];
    expect(messagesOf({ input: JSON.parse(JSON.stringify(input)) as unknown })).toEqual([
      { role: 'user', content: 'What time is it, and what is 1 + 2?' },
      {
        role: 'assistant',
        content: 'Let me see.',
        reasoning_content: 'Two calls.',
        tool_calls: [
          { id: 'call_0', type: 'function', function: { name: 'get_time', arguments: {} } },
          { id: 'call_1', type: 'function', function: { name: 'add', arguments: { a: 1, b: 2 } } },
        ],
      },
      { role: 'tool', content: '12:00', tool_call_id: 'call_0' },
      { role: 'tool', content: '3', tool_call_id: 'call_1' },
    ]);
  });

  test('is given thoughts back only with what followed them', () => {
    const thought = {
      type: 'reasoning',
      id: 'rs_1',
      summary: [],
      content: [{ type: 'reasoning_text', text: 'Hm' }],
    };
    expect(messagesOf({ input: [{ role: 'user', content: 'Hi' }, thought] })).toEqual([
      { role: 'user', content: 'Hi' },
    ]);
    const secret = { type: 'reasoning', summary: [], encrypted_content: 'abc' };
    expect(
      messagesOf({
        input: [{ role: 'user', content: 'Hi' }, secret, { role: 'assistant', content: 'Yes' }],
      })[1],
    ).toEqual({
      role: 'assistant',
      content: 'Yes',
    });
  });

  test.each([
    [{ input: 5 }, 'input', 'must be a string or an array'],
    [{ input: [] }, 'input', 'empty'],
    [{ input: undefined }, 'input', 'missing'],
    [{ input: Array.from({ length: 4097 }, () => ({ role: 'user', content: '' })) }, 'input', '4096'],
    [{ input: ['Hello'] }, 'input[0]', 'an object'],
    [{ input: [{ role: 'tool', content: 'x' }] }, 'input[0].role', ''],
    [{ input: [{ role: 'user', content: 5 }] }, 'input[0].content', 'must be a string or an array'],
    [{ input: [{ role: 'user', content: 'x', extra: 1 }] }, 'input[0].extra', 'Leave it out'],
    [
      { input: [{ role: 'user', content: [{ type: 'input_image', image_url: 'x' }] }] },
      'input[0].content[0].type',
      '"input_image"',
    ],
    [{ input: [{ role: 'user', content: [{ text: 'x' }] }] }, 'input[0].content[0].type', 'missing'],
    [{ input: [{ type: 'item_reference', id: 'msg_1' }] }, 'input[0].type', 'Nothing is stored'],
    [{ input: [{ type: 'web_search_call', id: 'ws' }] }, 'input[0].type', '"web_search_call"'],
    [{ input: [{ type: '__proto__' }] }, 'input[0].type', '__proto__'],
    [
      { input: [{ type: 'function_call_output', call_id: 'call_9', output: '1' }] },
      'input[0].call_id',
      'function_call',
    ],
    [{ input: [{ type: 'function_call', name: 'f', arguments: '{}' }] }, 'input[0].call_id', 'missing'],
  ])('%o is refused', (params, param, words) => {
    const [refused, message] = refusalOf(params);
    expect(refused).toBe(param);
    expect(message).toContain(words);
  });
});

describe('parameters of /v1/responses', () => {
  test('have defaults', () => {
    const query = queryOf({});
    expect(query).toMatchObject({
      tools: [],
      toolChoice: { kind: 'auto' },
      isParallel: true,
      shape: { kind: 'text' },
      maxTokens: null,
      thinks: null,
      scoresTokens: false,
      choices: 1,
      sampling: { temperature: 1, topP: 1, topLogProbabilities: 0 },
    });
    const nothing = Object.fromEntries(
      ['instructions', 'tools', 'text', 'reasoning', 'include', 'stream', 'temperature', 'metadata'].map(
        (key) => [key, null],
      ),
    );
    expect({ ...queryOf(nothing), sampling: 0 }).toEqual({ ...query, sampling: 0 });
  });

  test('reach the question', () => {
    const schema = { type: 'object', properties: { a: { type: 'number' } } };
    const query = queryOf({
      tools: [GET_TIME, ADD],
      tool_choice: { type: 'function', name: 'add' },
      parallel_tool_calls: false,
      text: { format: { type: 'json_schema', name: 'sum', schema, strict: true } },
      reasoning: { effort: 'low', summary: 'auto' },
      max_output_tokens: 7,
      top_logprobs: 3,
      temperature: 0,
      top_p: 0.5,
      seed: 42,
      min_tokens: 2,
      time_limit_seconds: 1.5,
    });
    expect(query).toMatchObject({
      tools: [{ name: 'get_time' }, { name: 'add', description: 'Adds.', parameters: { type: 'object' } }],
      toolChoice: { kind: 'named', name: 'add' },
      isParallel: false,
      shape: { kind: 'json-schema', schema },
      thinks: true,
      maxTokens: 7,
      scoresTokens: true,
      timeLimitMs: 1500,
      sampling: { temperature: 0, topP: 0.5, seed: 42, minTokens: 2, topLogProbabilities: 3 },
    });
    expect(queryOf({ reasoning: { effort: 'minimal' } }).thinks).toBe(false);
    expect(queryOf({ include: ['message.output_text.logprobs'] }).scoresTokens).toBe(true);
    expect(queryOf({ text: { format: { type: 'json_object' } } }).shape).toEqual({ kind: 'json-object' });
    expect(queryOf({ tools: [ADD], tool_choice: 'required' }).toolChoice).toEqual({ kind: 'required' });
    expect(parseResponsesRequest({ ...BASE, stream: true }).stream).toBe(true);
  });

  test('are in the response in the form of the API', async () => {
    const params = {
      ...BASE,
      tools: [ADD],
      tool_choice: 'required',
      reasoning: { effort: 'high' },
      user: 'somebody',
    };
    for await (const event of responseEvents(parseResponsesRequest(params), scripted([text('')]), HEAD)) {
      if (event['response'] === undefined) continue;
      expect(event['response']).toMatchObject({
        tools: [{ ...ADD }],
        tool_choice: 'required',
        reasoning: { effort: 'high', summary: null },
        text: { format: { type: 'text' } },
        user: 'somebody',
      });
    }
  });

  test.each([
    [{ tools: [{ type: 'web_search' }] }, 'tools[0].type', 'web_search'],
    [{ tools: [{ ...ADD, name: 'a b' }] }, 'tools[0].name', 'letters'],
    [{ tools: [{ ...ADD, parameters: [] }] }, 'tools[0].parameters', 'JSON schema'],
    [{ tools: [ADD, ADD] }, 'tools', "'add'"],
    [{ tools: [ADD], tool_choice: { type: 'function', name: 'sub' } }, 'tool_choice.name', "'sub'"],
    [{ tool_choice: 'required' }, 'tool_choice', 'tools'],
    [{ tool_choice: 'any' }, 'tool_choice', '"auto"'],
    [{ tool_choice: { type: 'mcp', server_label: 'x' } }, 'tool_choice.type', 'mcp'],
    [{ text: { format: { type: 'xml' } } }, 'text.format.type', 'xml'],
    [{ text: { format: { type: 'json_schema', name: 'x' } } }, 'text.format.schema', ''],
    [{ stream_options: { include_obfuscation: false } }, 'stream_options', 'stream'],
    [{ max_output_tokens: 3, min_tokens: 4 }, 'min_tokens', '4'],
    [{ metadata: { a: 1 } }, 'metadata.a', 'a string'],
    [{ metadata: { a: 'x'.repeat(513) } }, 'metadata', '512'],
    [{ include: ['file_search_call.results'] }, 'include[0]', 'file_search'],
    [{ frobnicate: 1 }, 'frobnicate', 'Leave it out'],
    [{ model: 5 }, 'model', 'a string'],
  ])('%j is refused', (params, param, words) => {
    const [refused, message] = refusalOf(params);
    expect(refused).toBe(param);
    expect(message).toContain(words);
  });

  test('are an object', () => {
    for (const body of [null, 'x', 5, undefined]) {
      expect(() => parseResponsesRequest(body)).toThrow(/body/);
    }
  });
});
