import { describe, expect, it } from 'vitest';
import { parseChatRequest } from '../../../../src/client/api/chat-request.ts';
import { parseCompletionRequest } from '../../../../src/client/api/completion-request.ts';
import type { ChatCompletionRequest, CompletionRequest } from '../../../../src/client/connect/requests.ts';

type Full<Request> = { readonly [Key in keyof Required<Request>]: Exclude<Request[Key], undefined> };

const SAMPLING = {
  model: 'skein-tiny',
  temperature: 0.5,
  top_p: 0.9,
  top_k: 40,
  min_p: 0.05,
  presence_penalty: 0.1,
  frequency_penalty: 0.1,
  repetition_penalty: 1.1,
  logit_bias: { '5': -1 },
  seed: 7,
  n: 2,
  stop: ['.', '!'],
  min_tokens: 1,
  time_limit_seconds: 60,
  user: 'somebody',
  stream: true,
  stream_options: { include_usage: true },
} as const;

/** Everything there is: a parameter that the types gain has to be here, and so has to be taken. */
const CHAT: Full<Omit<ChatCompletionRequest, 'max_tokens'>> = {
  ...SAMPLING,
  max_completion_tokens: 20,
  messages: [
    { role: 'developer', content: 'Be brief.', name: 'me' },
    { role: 'user', content: [{ type: 'text', text: 'Add 1 and 2.' }] },
    {
      role: 'assistant',
      content: null,
      reasoning_content: 'A sum.',
      tool_calls: [{ id: 'a', type: 'function', function: { name: 'add', arguments: '{"a":1,"b":2}' } }],
    },
    { role: 'tool', content: '3', tool_call_id: 'a' },
  ],
  logprobs: true,
  top_logprobs: 2,
  response_format: { type: 'json_schema', json_schema: { name: 'sum', schema: { type: 'object' } } },
  tools: [{ type: 'function', function: { name: 'add', parameters: { type: 'object' }, strict: true } }],
  tool_choice: { type: 'function', function: { name: 'add' } },
  parallel_tool_calls: false,
  reasoning_effort: 'low',
};

const TEXT: Full<CompletionRequest> = {
  ...SAMPLING,
  prompt: ['Once', 'Twice'],
  max_tokens: 20,
  logprobs: 2,
};

describe('the types of requests', () => {
  it('name what a chat completion takes', () => {
    const { query } = parseChatRequest(CHAT);
    expect(query).toMatchObject({ choices: 2, maxTokens: 20, stopStrings: ['.', '!'] });
    expect(parseChatRequest({ ...CHAT, max_completion_tokens: null, max_tokens: 9 }).query.maxTokens).toBe(9);
  });

  it('name what a text completion takes', () => {
    const { queries } = parseCompletionRequest(TEXT);
    expect(queries).toHaveLength(2);
  });
});
