import { describe, expect, test } from 'vitest';
import { parseCountTokens, parseMessagesRequest } from '../../../../src/client/api/messages-request.ts';
import { wholeMessage } from '../../../../src/client/api/messages-response.ts';
import { call, HEAD, reasoning, scripted, text } from './scripted-answer.ts';

const BASE = { model: 'skein-tiny', max_tokens: 50, messages: [{ role: 'user', content: 'Hello' }] };
const ADD = { name: 'add', description: 'Adds.', input_schema: { type: 'object', properties: {} } };
const CACHED = { cache_control: { type: 'ephemeral', ttl: '1h' } };

const queryOf = (params: object) => parseMessagesRequest({ ...BASE, ...params }).query;
const messagesOf = (params: object) => {
  const { prompt } = queryOf(params);
  return prompt.kind === 'chat' ? prompt.messages : [];
};
/** The parameter at fault, and the words. */
function refusalOf(params: object): [unknown, string] {
  try {
    parseMessagesRequest({ ...BASE, ...params });
  } catch (error) {
    const { code, data, message } = error as { code: string; data: { param: unknown }; message: string };
    expect(code).toBe('bad-argument');
    return [data.param, message];
  }
  throw new Error(`accepted: ${JSON.stringify(params)}`);
}
const user = (...content: object[]) => ({ messages: [{ role: 'user', content }] });

describe('messages of /v1/messages', () => {
  test('are texts, or blocks of it, after what the system says', () => {
    const system = [
      { type: 'text', text: 'Be brief.', ...CACHED },
      { type: 'text', text: 'Be kind.' },
    ];
    expect(messagesOf({ system })).toEqual([
      { role: 'system', content: 'Be brief.\nBe kind.' },
      { role: 'user', content: 'Hello' },
    ]);
    expect(messagesOf({ system: 'Be brief.' })[0]).toEqual({ role: 'system', content: 'Be brief.' });
  });

  test('of one role that follow each other are one turn', () => {
    const messages = [
      { role: 'user', content: 'Hello' },
      { role: 'user', content: [{ type: 'text', text: 'there', ...CACHED }] },
      { role: 'assistant', content: 'Hi' },
      { role: 'assistant', content: [{ type: 'text', text: 'you' }] },
      { role: 'user', content: 'Bye' },
    ];
    expect(messagesOf({ messages })).toEqual([
      { role: 'user', content: 'Hello\nthere' },
      { role: 'assistant', content: 'Hi\nyou' },
      { role: 'user', content: 'Bye' },
    ]);
  });

  test('take back the content of a message as it was, and what its calls gave', async () => {
    const pieces = [
      reasoning('Two calls.'),
      text('Let me see.'),
      ...call(0, 'add', '{"a": 1, "b": 2}'),
      ...call(1, 'add', '{}'),
    ];
    const { content } = await wholeMessage(
      parseMessagesRequest({ ...BASE, tools: [ADD] }),
      scripted(pieces, { end: 'tool-calls' }),
      HEAD,
    );
    const messages = [
      { role: 'user', content: 'What is 1 + 2, and what nothing?' },
      { role: 'assistant', content: [...content, { type: 'redacted_thinking', data: 'x' }] },
      {
        role: 'user',
        content: [
          { type: 'tool_result', tool_use_id: 'call_0', content: '3' },
          {
            type: 'tool_result',
            tool_use_id: 'call_1',
            content: [{ type: 'text', text: 'no a' }],
            is_error: true,
          },
          { type: 'text', text: 'Well?' },
        ],
      },
    ];
    expect(messagesOf({ messages: JSON.parse(JSON.stringify(messages)) as unknown })).toEqual([
      { role: 'user', content: 'What is 1 + 2, and what nothing?' },
      {
        role: 'assistant',
        content: 'Let me see.',
        reasoning_content: 'Two calls.',
        tool_calls: [
          { id: 'call_0', type: 'function', function: { name: 'add', arguments: { a: 1, b: 2 } } },
          { id: 'call_1', type: 'function', function: { name: 'add', arguments: {} } },
        ],
      },
      { role: 'tool', content: '3', tool_call_id: 'call_0' },
      { role: 'tool', content: 'Error: no a', tool_call_id: 'call_1' },
      { role: 'user', content: 'Well?' },
    ]);
  });

  test.each([
    [{ messages: [] }, 'messages', 'empty'],
    [{ messages: undefined }, 'messages', 'missing'],
    [{ messages: Array.from({ length: 4097 }, () => ({ role: 'user', content: '' })) }, 'messages', '4096'],
    [{ messages: [{ role: 'tool', content: 'x' }] }, 'messages[0].role', ''],
    [user({ type: 'image', source: {} }), 'messages[0].content[0].type', '"image"'],
    [user({ type: 'document', source: {} }), 'messages[0].content[0].type', '"document"'],
    [user({ type: 'tool_use', id: 'x', name: 'add', input: {} }), 'messages[0].content[0].type', 'tool_use'],
    [
      user({ type: 'tool_result', tool_use_id: 'x', content: [{ type: 'image', source: {} }] }),
      'messages[0].content[0].content[0].type',
      '"image"',
    ],
    [user({ type: 'tool_result', tool_use_id: 'x', content: '1' }), 'messages[0].content[0].tool_use_id', ''],
    [
      { messages: [...BASE.messages, { role: 'assistant', content: 'The answer is' }] },
      'messages[1]',
      'End with a message of the user',
    ],
    [{ system: [{ type: 'image' }] }, 'system[0].type', '"image"'],
  ])('%o is refused', (params, param, words) => {
    const [refused, message] = refusalOf(params);
    expect(refused).toBe(param);
    expect(message).toContain(words);
  });
});

describe('parameters of /v1/messages', () => {
  test('have defaults', () => {
    expect(parseMessagesRequest(BASE)).toMatchObject({
      stream: false,
      showsThinking: true,
      query: {
        tools: [],
        toolChoice: { kind: 'auto' },
        isParallel: true,
        shape: { kind: 'text' },
        maxTokens: 50,
        thinks: false,
        choices: 1,
        stopStrings: [],
        sampling: { temperature: 1, topP: 1, topK: 0 },
      },
    });
  });

  test('reach the question', () => {
    const schema = { type: 'object' };
    const query = queryOf({
      max_tokens: 4000,
      tools: [ADD, { ...ADD, name: 'sub', type: 'custom', ...CACHED }],
      tool_choice: { type: 'tool', name: 'sub', disable_parallel_tool_use: true },
      thinking: { type: 'enabled', budget_tokens: 1024 },
      stop_sequences: ['END', '.'],
      temperature: 0.25,
      top_p: 0.5,
      top_k: 7,
      output_config: { format: { type: 'json_schema', schema } },
    });
    expect(query).toMatchObject({
      maxTokens: 4000,
      tools: [{ name: 'add', description: 'Adds.', parameters: ADD.input_schema }, { name: 'sub' }],
      toolChoice: { kind: 'named', name: 'sub' },
      isParallel: false,
      thinks: true,
      stopStrings: ['END', '.'],
      shape: { kind: 'json-schema', schema },
      sampling: { temperature: 0.25, topP: 0.5, topK: 7 },
    });
    expect(queryOf({ tools: [ADD], tool_choice: { type: 'any' } }).toolChoice).toEqual({ kind: 'required' });
    expect(queryOf({ tools: [ADD], tool_choice: { type: 'none' } }).toolChoice).toEqual({ kind: 'none' });
    expect(queryOf({ thinking: { type: 'adaptive' } }).thinks).toBe(true);
    expect(queryOf({ thinking: { type: 'disabled' } }).thinks).toBe(false);
  });

  test.each([
    [{ max_tokens: undefined }, 'max_tokens', 'missing'],
    [{ max_tokens: 0 }, 'max_tokens', 'from 1'],
    [{ temperature: 1.5 }, 'temperature', 'from 0 to 1'],
    [{ stop_sequences: [''] }, 'stop_sequences[0]', 'characters'],
    [{ thinking: { type: 'enabled', budget_tokens: 100 } }, 'thinking.budget_tokens', '1024'],
    [{ thinking: { type: 'enabled', budget_tokens: 2000 } }, 'thinking.budget_tokens', 'max_tokens 50'],
    [{ thinking: { type: 'between_tools' } }, 'thinking.type', 'between_tools'],
    [{ tools: [{ type: 'bash_20250124', name: 'bash' }] }, 'tools[0].type', 'bash_20250124'],
    [{ tools: [{ name: 'add' }] }, 'tools[0].input_schema', ''],
    [{ tools: [ADD], tool_choice: { type: 'tool', name: 'sub' } }, 'tool_choice.name', "'sub'"],
    [{ tool_choice: { type: 'any' } }, 'tool_choice', 'tools'],
    [{ inference_geo: 'eu' }, 'inference_geo', 'Peers may be anywhere'],
    [{ frobnicate: 1 }, 'frobnicate', 'Leave it out'],
  ])('%j is refused', (params, param, words) => {
    const [refused, message] = refusalOf(params);
    expect(refused).toBe(param);
    expect(message).toContain(words);
  });
});

test('tokens are counted of the same prompt that would be answered', () => {
  const prompt = { messages: BASE.messages, model: BASE.model, system: 'Be brief.', tools: [ADD] };
  const { tools, prompt: counted, thinks } = parseCountTokens(prompt);
  const asked = queryOf({ ...prompt });
  expect({ tools, counted, thinks }).toEqual({
    tools: asked.tools,
    counted: asked.prompt,
    thinks: asked.thinks,
  });
  expect(() => parseCountTokens(BASE)).toThrow(/max_tokens/);
});
