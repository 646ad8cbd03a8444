import { describe, expect, it } from 'vitest';
import { parseChatRequest } from '../../../../src/client/api/chat-request.ts';
import { parseCompletionRequest } from '../../../../src/client/api/completion-request.ts';
import { refusalOf } from '../../../fixtures/errors.ts';

const MESSAGES = [{ role: 'user', content: 'Hello' }];
const TOOL = { type: 'function', function: { name: 'add', parameters: { type: 'object' } } };
const chat = (changes: object = {}) => parseChatRequest({ model: 'm', messages: MESSAGES, ...changes });
const completion = (changes: object = {}) =>
  parseCompletionRequest({ model: 'm', prompt: 'Once', ...changes });
const paramOf = async (action: () => unknown) => {
  const refusal = await refusalOf(action);
  expect(refusal.code).toBe('bad-argument');
  expect(refusal.message).toMatch(/\.$/);
  return refusal.data['param'];
};
/** Arrays in arrays. */
const deep = (levels: number): unknown => JSON.parse('['.repeat(levels) + ']'.repeat(levels));

describe('a chat completion', () => {
  it('has the defaults of the API', () => {
    const { query, stream, includeUsage } = chat();
    expect(query).toMatchObject({
      model: 'm',
      prompt: { kind: 'chat', messages: MESSAGES },
      tools: [],
      toolChoice: { kind: 'auto' },
      isParallel: true,
      shape: { kind: 'text' },
      sampling: {
        temperature: 1,
        topP: 1,
        topK: 0,
        minP: 0,
        minTokens: 0,
        repetitionPenalty: 1,
        logitBias: [],
      },
      scoresTokens: false,
      maxTokens: null,
      stopStrings: [],
      thinks: null,
      choices: 1,
    });
    expect(query.timeLimitMs).toBeUndefined();
    expect({ stream, includeUsage }).toEqual({ stream: false, includeUsage: false });
    expect(chat().query.sampling.seed).not.toBe(query.sampling.seed);
  });

  it('takes null for whatever may be absent', () => {
    const names = [
      'temperature',
      'top_p',
      'n',
      'stop',
      'seed',
      'max_tokens',
      'max_completion_tokens',
      'logprobs',
    ];
    const more = [
      'top_logprobs',
      'logit_bias',
      'response_format',
      'tools',
      'tool_choice',
      'stream',
      'stream_options',
    ];
    const others = [
      'reasoning_effort',
      'audio',
      'prediction',
      'user',
      'metadata',
      'store',
      'modalities',
      'min_p',
    ];
    const nulls = Object.fromEntries([...names, ...more, ...others].map((name) => [name, null]));
    expect({ ...chat(nulls).query.sampling, seed: 0 }).toEqual({ ...chat().query.sampling, seed: 0 });
  });

  it.each<[object, object]>([
    [{ temperature: 0 }, { sampling: { temperature: 0 } }],
    [{ temperature: 2 }, { sampling: { temperature: 2 } }],
    [{ top_p: 0.5 }, { sampling: { topP: 0.5 } }],
    [{ top_p: 0 }, { sampling: { topP: 1e-6 } }],
    [
      { presence_penalty: -2, frequency_penalty: 2 },
      { sampling: { presencePenalty: -2, frequencyPenalty: 2 } },
    ],
    [{ seed: 7 }, { sampling: { seed: 7 } }],
    [{ seed: -1 }, { sampling: { seed: 0xffff_ffff } }],
    [{ logit_bias: { 5: -100, 17: 3.5 } }, { sampling: { logitBias: [[5, -100], [17, 3.5]] } }], // prettier-ignore
    [{ logprobs: true }, { scoresTokens: true, sampling: { topLogProbabilities: 0 } }],
    [
      { logprobs: true, top_logprobs: 20 },
      { scoresTokens: true, sampling: { topLogProbabilities: 20 } },
    ],
    [{ n: 16 }, { choices: 16 }],
    [{ stop: 'x' }, { stopStrings: ['x'] }],
    [{ stop: ['a', 'b', 'c', 'd'] }, { stopStrings: ['a', 'b', 'c', 'd'] }],
    [{ max_tokens: 5 }, { maxTokens: 5 }],
    [{ max_completion_tokens: 6 }, { maxTokens: 6 }],
    [{ response_format: { type: 'text' } }, { shape: { kind: 'text' } }],
    [{ response_format: { type: 'json_object' } }, { shape: { kind: 'json-object' } }],
    [
      {
        response_format: {
          type: 'json_schema',
          json_schema: { name: 'x', schema: { type: 'array' }, strict: true },
        },
      },
      { shape: { kind: 'json-schema', schema: { type: 'array' } } },
    ],
    [
      { tools: [TOOL], tool_choice: 'required', parallel_tool_calls: false },
      {
        tools: [{ name: 'add', parameters: { type: 'object' } }],
        toolChoice: { kind: 'required' },
        isParallel: false,
      },
    ],
    [{ tools: [TOOL], tool_choice: 'none' }, { toolChoice: { kind: 'none' } }],
    [
      { tools: [TOOL], tool_choice: { type: 'function', function: { name: 'add' } } },
      { toolChoice: { kind: 'named', name: 'add' } },
    ],
    [
      {
        tools: [TOOL, { type: 'function', function: { name: 'other' } }],
        tool_choice: {
          type: 'allowed_tools',
          allowed_tools: { mode: 'required', tools: [{ type: 'function', function: { name: 'other' } }] },
        },
      },
      { tools: [{ name: 'other' }], toolChoice: { kind: 'required' } },
    ],
    [{ reasoning_effort: 'none' }, { thinks: false }],
    [{ reasoning_effort: 'minimal' }, { thinks: false }],
    [{ reasoning_effort: 'low' }, { thinks: true }],
    [{ min_p: 0.1, top_k: 5 }, { sampling: { minP: 0.1, topK: 5 } }],
    [{ top_k: -1 }, { sampling: { topK: 0 } }],
    [{ repetition_penalty: 1.2, min_tokens: 3 }, { sampling: { repetitionPenalty: 1.2, minTokens: 3 } }],
    [{ time_limit_seconds: 1.5 }, { timeLimitMs: 1500 }],
    [
      { user: 'x', metadata: { a: 'b' }, store: true, service_tier: 'auto', safety_identifier: 'x' },
      { choices: 1 },
    ],
    [
      { prompt_cache_key: 'x', prompt_cache_retention: '24h', verbosity: 'medium', modalities: ['text'] },
      { choices: 1 },
    ],
  ])('takes %j', (parameters, query) => {
    expect(chat(parameters).query).toMatchObject(query);
  });

  it.each<[string, object]>([
    ['temperature', { temperature: 2.1 }],
    ['temperature', { temperature: '1' }],
    ['top_p', { top_p: -0.1 }],
    ['presence_penalty', { presence_penalty: 3 }],
    ['frequency_penalty', { frequency_penalty: -3 }],
    ['seed', { seed: 1.5 }],
    ['seed', { seed: 2 ** 60 }],
    ['logit_bias', { logit_bias: { x: 1 } }],
    ['logit_bias.5', { logit_bias: { 5: 101 } }],
    ['logit_bias', { logit_bias: [1] }],
    ['logprobs', { logprobs: 2 }],
    ['top_logprobs', { logprobs: true, top_logprobs: 21 }],
    ['top_logprobs', { top_logprobs: 2 }],
    ['n', { n: 0 }],
    ['n', { n: 17 }],
    ['stop', { stop: ['a', 'b', 'c', 'd', 'e'] }],
    ['stop[1]', { stop: ['a', ''] }],
    ['max_tokens', { max_tokens: 0 }],
    ['max_tokens', { max_tokens: 1, max_completion_tokens: 1 }],
    ['max_completion_tokens', { max_completion_tokens: 1e9 }],
    ['min_tokens', { min_tokens: 9, max_tokens: 8 }],
    ['response_format.type', { response_format: { type: 'xml' } }],
    [
      'response_format.json_schema.name',
      { response_format: { type: 'json_schema', json_schema: { schema: {} } } },
    ],
    ['tools', { tools: [TOOL, TOOL] }],
    ['tools[0].type', { tools: [{ type: 'custom', custom: { name: 'x' } }] }],
    ['tools[0].function.name', { tools: [{ type: 'function', function: { name: 'a b' } }] }],
    [
      'tools[0].function.parameters',
      { tools: [{ type: 'function', function: { name: 'a', parameters: 5 } }] },
    ],
    ['tools', { tools: new Array(129).fill(TOOL) }],
    ['tool_choice', { tools: [TOOL], tool_choice: 'always' }],
    ['tool_choice', { tools: [TOOL], tool_choice: { type: 'function', function: { name: 'nope' } } }],
    ['tool_choice', { tool_choice: 'required' }],
    ['reasoning_effort', { reasoning_effort: 'some' }],
    ['stream', { stream: 'yes' }],
    ['stream_options', { stream_options: { include_usage: true } }],
    ['stream_options.include_obfuscation', { stream: true, stream_options: { include_obfuscation: true } }],
    ['top_k', { top_k: -2 }],
    ['min_p', { min_p: 1.1 }],
    ['repetition_penalty', { repetition_penalty: 0 }],
    ['time_limit_seconds', { time_limit_seconds: 0 }],
    ['verbosity', { verbosity: 'low' }],
    ['modalities', { modalities: ['text', 'audio'] }],
    ['audio', { audio: { voice: 'x', format: 'wav' } }],
    ['web_search_options', { web_search_options: {} }],
    ['prediction', { prediction: { type: 'content', content: 'x' } }],
    ['moderation', { moderation: { model: 'x' } }],
    ['functions', { functions: [] }],
    ['function_call', { function_call: 'auto' }],
    ['user', { user: 5 }],
    ['metadata.a', { metadata: { a: 5 } }],
    ['metadata', { metadata: [] }],
    ['best_of', { best_of: 2 }],
    ['model', { model: null }],
    ['messages', { messages: [] }],
    ['messages', { messages: 'Hello' }],
    ['messages[0].role', { messages: [{ role: 'function', name: 'x', content: 'x' }] }],
    ['messages[1].content', { messages: [...MESSAGES, { role: 'user', content: 5 }] }],
    ['messages[0].content', { messages: [{ role: 'assistant' }] }],
    ['messages[0].content[1].type', { messages: [{ role: 'user', content: [{ type: 'text', text: 'a' }, { type: 'image_url', image_url: { url: 'x' } }] }] }], // prettier-ignore
    ['messages[0].content[0].type', { messages: [{ role: 'user', content: [{ type: 'input_audio' }] }] }],
    ['messages[0].content[0].text', { messages: [{ role: 'user', content: [{ type: 'text' }] }] }],
    ['messages[0].tool_call_id', { messages: [{ role: 'tool', content: 'x' }] }],
    ['messages[0].tool_calls[0].function.name', { messages: [{ role: 'assistant', tool_calls: [{ id: 'x', type: 'function', function: { arguments: '' } }] }] }], // prettier-ignore
    ['messages[0].audio', { messages: [{ role: 'assistant', content: 'x', audio: { id: 'x' } }] }],
    ['messages[0].colour', { messages: [{ role: 'user', content: 'x', colour: 'red' }] }],
  ])('is refused for %s in %j', async (param, parameters) => {
    expect(await paramOf(() => chat(parameters))).toBe(param);
  });

  it.each([null, 5, 'x', [], undefined])('is refused that is %j', async (body) => {
    expect((await refusalOf(() => parseChatRequest(body))).code).toBe('bad-argument');
  });

  it('is refused for schemas that are too deep to be walked', async () => {
    const schema = { a: deep(10_000) };
    const format = { type: 'json_schema', json_schema: { name: 'x', schema } };
    expect(await paramOf(() => chat({ response_format: format }))).toBe('response_format.json_schema.schema');
    const tools = [{ type: 'function', function: { name: 'x', parameters: schema } }];
    expect(await paramOf(() => chat({ tools }))).toBe('tools[0].function.parameters');
    expect(
      chat({ tools: [{ type: 'function', function: { name: 'x', parameters: { a: deep(60) } } }] }),
    ).toBeDefined();
  });

  it('is refused without a word of what was sent that is long', async () => {
    const name = 'x'.repeat(10_000);
    const refusal = await refusalOf(() => chat({ [name]: 1 }));
    expect(refusal.message.length).toBeLessThan(700);
    expect((await refusalOf(() => chat({ temperature: name }))).message.length).toBeLessThan(200);
  });

  it('takes the messages of a conversation with calls, as templates want them', () => {
    const { query } = chat({
      messages: [
        {
          role: 'developer',
          content: [
            { type: 'text', text: 'Be ' },
            { type: 'text', text: 'short.' },
          ],
        },
        { role: 'user', content: 'Add.', name: 'Ada' },
        {
          role: 'assistant',
          content: null,
          reasoning_content: 'Hm.',
          tool_calls: [
            { id: 'a', type: 'function', function: { name: 'add', arguments: '{"a": 1}' } },
            { id: 'b', type: 'function', function: { name: 'add', arguments: 'no JSON' } },
          ],
        },
        { role: 'tool', tool_call_id: 'a', content: '3' },
        { role: 'assistant', content: [{ type: 'refusal', refusal: 'No.' }] },
      ],
    });
    expect(query.prompt).toEqual({
      kind: 'chat',
      messages: [
        { role: 'system', content: 'Be short.' },
        { role: 'user', content: 'Add.', name: 'Ada' },
        {
          role: 'assistant',
          content: '',
          reasoning_content: 'Hm.',
          tool_calls: [
            { id: 'a', type: 'function', function: { name: 'add', arguments: { a: 1 } } },
            { id: 'b', type: 'function', function: { name: 'add', arguments: 'no JSON' } },
          ],
        },
        { role: 'tool', content: '3', tool_call_id: 'a' },
        { role: 'assistant', content: 'No.' },
      ],
    });
  });

  it('streams, with its usage where that is wanted', () => {
    expect(chat({ stream: true, stream_options: { include_usage: true } })).toMatchObject({
      stream: true,
      includeUsage: true,
    });
  });
});

describe('a text completion', () => {
  it('has the defaults of the API', () => {
    expect(completion().queries).toMatchObject([
      { prompt: { kind: 'text', text: 'Once' }, maxTokens: 16, choices: 1, scoresTokens: false, tools: [] },
    ]);
  });

  it.each<[unknown, object[]]>([
    ['a', [{ kind: 'text', text: 'a' }]],
    [['a', 'b'], [{ kind: 'text', text: 'a' }, { kind: 'text', text: 'b' }]], // prettier-ignore
    [[1, 2], [{ kind: 'ids', ids: [1, 2] }]],
    [[[1], [2, 3]], [{ kind: 'ids', ids: [1] }, { kind: 'ids', ids: [2, 3] }]], // prettier-ignore
  ])('takes the prompt %j', (prompt, prompts) => {
    expect(completion({ prompt }).queries.map((query) => query.prompt)).toEqual(prompts);
  });

  it.each<[object, object]>([
    [{ logprobs: 0 }, { scoresTokens: true, sampling: { topLogProbabilities: 0 } }],
    [{ logprobs: 5 }, { scoresTokens: true, sampling: { topLogProbabilities: 5 } }],
    [{ best_of: 2, n: 2, echo: false, suffix: '' }, { choices: 2 }],
    [
      { max_tokens: 3, temperature: 0, stop: 'x' },
      { maxTokens: 3, stopStrings: ['x'] },
    ],
  ])('takes %j', (parameters, query) => {
    expect(completion(parameters).queries[0]).toMatchObject(query);
  });

  it.each<[string, object]>([
    ['prompt', { prompt: null }],
    ['prompt', { prompt: [] }],
    ['prompt[1]', { prompt: [1, 'a'] }],
    ['prompt[0][1]', { prompt: [[1, -1]] }],
    ['prompt', { prompt: new Array(17).fill('a') }],
    ['prompt', { prompt: ['a', 'b', 'c'], n: 6 }],
    ['logprobs', { logprobs: 6 }],
    ['logprobs', { logprobs: true }],
    ['best_of', { best_of: 3, n: 2 }],
    ['echo', { echo: true }],
    ['suffix', { suffix: 'x' }],
    ['messages', { messages: MESSAGES }],
    ['response_format', { response_format: { type: 'json_object' } }],
  ])('is refused for %s in %j', async (param, parameters) => {
    expect(await paramOf(() => completion(parameters))).toBe(param);
  });
});
