import type OpenAI from 'openai';
import { describe, expect, it } from 'vitest';
import type { AnswerEvent, ScoredToken } from '../../../../src/client/api/answer-events.ts';
import { apiProblem, problemBody } from '../../../../src/client/api/api-problem.ts';
import { parseChatRequest } from '../../../../src/client/api/chat-request.ts';
import { chatChunks, chatCompletion } from '../../../../src/client/api/chat-response.ts';
import { parseCompletionRequest } from '../../../../src/client/api/completion-request.ts';
import { completion, completionChunks } from '../../../../src/client/api/completion-response.ts';
import type { GenerateResult } from '../../../../src/client/generation.ts';
import { ERROR_CODES, SkeinError } from '../../../../src/protocol/errors.ts';
import { refusalOf } from '../../../fixtures/errors.ts';
import { CARD } from './scripted-mesh.ts';

const HEAD = { id: 'ab'.repeat(16), createdSeconds: 1_741_569_952 };
const USAGE = { promptTokens: 19, cachedTokens: 16, completionTokens: 10, reasoningTokens: 3 };
const usage = {
  prompt_tokens: 19,
  completion_tokens: 10,
  total_tokens: 29,
  prompt_tokens_details: { cached_tokens: 16 },
  completion_tokens_details: { reasoning_tokens: 3 },
};
const token = (text: string, logProbability: number): ScoredToken => {
  const written = { tokenId: 1, logProbability, text, bytes: [...new TextEncoder().encode(text)] };
  return { ...written, top: [written, { ...written, text: '?', bytes: [63], logProbability: -3 }] };
};
const text = (said: string, choice = 0, ...tokens: ScoredToken[]): AnswerEvent => ({
  type: 'text',
  choice,
  text: said,
  tokens,
});
const end = (how: 'stop' | 'length' | 'tool-calls', choice = 0): AnswerEvent => ({
  type: 'end',
  choice,
  end: how,
  stopString: null,
  result: {} as GenerateResult,
});
const done: AnswerEvent = { type: 'done', usage: USAGE };
const PROMPT: AnswerEvent = { type: 'prompt', tokens: 19 };
const WAITING: AnswerEvent = { type: 'progress', choice: 0, progress: { type: 'queued', position: 2 } };

async function* stream(events: readonly AnswerEvent[]): AsyncGenerator<AnswerEvent> {
  for (const event of events) {
    await Promise.resolve();
    yield event;
  }
}
const collect = async <Item>(items: AsyncIterable<Item>) => {
  const collected: Item[] = [];
  for await (const item of items) collected.push(item);
  return collected;
};
const asked = (changes: object = {}) =>
  parseChatRequest({ model: CARD.id, messages: [{ role: 'user', content: 'Hi' }], ...changes });
const CALLS: readonly AnswerEvent[] = [
  { type: 'reasoning', choice: 0, text: 'Hm' },
  { type: 'reasoning', choice: 0, text: '.' },
  { type: 'tool-call', choice: 0, index: 0, id: 'call_1', name: 'add' },
  { type: 'tool-arguments', choice: 0, index: 0, json: '{"a"' },
  { type: 'tool-arguments', choice: 0, index: 0, json: ': 1}' },
  { type: 'tool-call', choice: 0, index: 1, id: 'call_2', name: 'add' },
  { type: 'tool-arguments', choice: 0, index: 1, json: '{}' },
  end('tool-calls'),
  done,
];

describe('a chat completion', () => {
  it('is the object of the API', async () => {
    const answer: OpenAI.ChatCompletion = await chatCompletion(
      asked({ n: 2 }),
      stream([PROMPT, WAITING, text('Hel'), text('Hey', 1), text('lo'), end('length', 1), end('stop'), done]),
      CARD,
      HEAD,
    );
    const message = { role: 'assistant', refusal: null };
    expect(answer).toEqual({
      id: `chatcmpl-${HEAD.id}`,
      object: 'chat.completion',
      created: HEAD.createdSeconds,
      model: CARD.id,
      system_fingerprint: expect.stringMatching(/^fp_[0-9a-f]{10}$/) as string,
      choices: [
        { index: 0, message: { ...message, content: 'Hello' }, logprobs: null, finish_reason: 'stop' },
        { index: 1, message: { ...message, content: 'Hey' }, logprobs: null, finish_reason: 'length' },
      ],
      usage,
    });
  });

  it('has calls, and thoughts apart from them', async () => {
    const { choices } = await chatCompletion(asked(), stream(CALLS), CARD, HEAD);
    const call = { type: 'function', function: { name: 'add', arguments: '{"a": 1}' } };
    expect(choices[0]).toEqual({
      index: 0,
      message: {
        role: 'assistant',
        content: null,
        refusal: null,
        reasoning_content: 'Hm.',
        tool_calls: [
          { id: 'call_1', ...call },
          { id: 'call_2', ...call, function: { name: 'add', arguments: '{}' } },
        ],
      },
      logprobs: null,
      finish_reason: 'tool_calls',
    });
  });

  it('has log-probabilities where they are asked for', async () => {
    const question = asked({ logprobs: true, top_logprobs: 2 });
    const events = [text('Hé', 0, token('H', -0.1), token('é', -0.2)), end('stop'), done];
    const { choices } = await chatCompletion(question, stream(events), CARD, HEAD);
    const other = { token: '?', bytes: [63], logprob: -3 };
    const written = (said: string, bytes: number[], logprob: number) => {
      const own = { token: said, bytes, logprob };
      return { ...own, top_logprobs: [own, other] };
    };
    const content = [written('H', [72], -0.1), written('é', [0xc3, 0xa9], -0.2)];
    expect(choices[0]?.logprobs).toEqual({ content, refusal: null });
    const chunks = await collect(chatChunks(question, stream(events), CARD, HEAD));
    expect(chunks.map((chunk) => chunk.choices[0]?.logprobs)).toEqual([
      null,
      { content, refusal: null },
      null,
    ]);
  });

  it('names the backend by what decides about its answers', async () => {
    const fingerprint = async (card: typeof CARD) =>
      (await chatCompletion(asked(), stream([end('stop'), done]), card, HEAD)).system_fingerprint;
    expect(await fingerprint({ ...CARD })).toBe(await fingerprint(CARD));
    expect(await fingerprint({ ...CARD, cache: 'f16' })).not.toBe(await fingerprint(CARD));
  });

  it('is none where the events end before the answer', async () => {
    expect(await refusalOf(() => chatCompletion(asked(), stream([text('a')]), CARD))).toMatchObject({
      code: 'internal',
    });
    expect(await refusalOf(() => chatCompletion(asked(), stream([text('a'), done]), CARD))).toMatchObject({
      code: 'internal',
    });
    expect(await refusalOf(() => collect(chatChunks(asked(), stream([text('a')]), CARD)))).toMatchObject({
      code: 'internal',
    });
  });
});

describe('the chunks of a chat completion', () => {
  it('begin with the role when there is something to say, and end with the reason', async () => {
    const chunks: OpenAI.ChatCompletionChunk[] = await collect(
      chatChunks(
        asked({ n: 2, stream: true }),
        stream([
          PROMPT,
          WAITING,
          text('Hel'),
          text('lo'),
          end('stop'),
          text('Hey', 1),
          end('length', 1),
          done,
        ]),
        CARD,
        HEAD,
      ),
    );
    for (const { id, object, created, model, usage: none } of chunks) {
      expect({ id, object, created, model }).toEqual({
        id: `chatcmpl-${HEAD.id}`,
        object: 'chat.completion.chunk',
        created: HEAD.createdSeconds,
        model: CARD.id,
      });
      expect(none).toBeUndefined();
    }
    const first = { role: 'assistant', content: '', refusal: null };
    expect(
      chunks.map(({ choices: [choice] }) => [choice?.index, choice?.delta, choice?.finish_reason]),
    ).toEqual([
      [0, first, null],
      [0, { content: 'Hel' }, null],
      [0, { content: 'lo' }, null],
      [0, {}, 'stop'],
      [1, first, null],
      [1, { content: 'Hey' }, null],
      [1, {}, 'length'],
    ]);
  });

  it('have the usage last, where it is asked for, and null before', async () => {
    const question = asked({ stream: true, stream_options: { include_usage: true } });
    const chunks = await collect(chatChunks(question, stream([text('a'), end('stop'), done]), CARD, HEAD));
    expect(chunks.map((chunk) => chunk.usage)).toEqual([null, null, null, usage]);
    expect(chunks.at(-1)?.choices).toEqual([]);
  });

  it('have calls with the name first, and their arguments in pieces', async () => {
    const chunks = await collect(chatChunks(asked({ stream: true }), stream(CALLS), CARD, HEAD));
    expect(chunks.map(({ choices: [choice] }) => choice?.delta)).toEqual([
      { role: 'assistant', content: '', refusal: null },
      { reasoning_content: 'Hm' },
      { reasoning_content: '.' },
      {
        tool_calls: [{ index: 0, id: 'call_1', type: 'function', function: { name: 'add', arguments: '' } }],
      },
      { tool_calls: [{ index: 0, function: { arguments: '{"a"' } }] },
      { tool_calls: [{ index: 0, function: { arguments: ': 1}' } }] },
      {
        tool_calls: [{ index: 1, id: 'call_2', type: 'function', function: { name: 'add', arguments: '' } }],
      },
      { tool_calls: [{ index: 1, function: { arguments: '{}' } }] },
      {},
    ]);
  });
});

describe('a text completion', () => {
  const question = parseCompletionRequest({ model: CARD.id, prompt: ['a', 'b'], logprobs: 1, stream: true });
  const events = [
    text('Hé', 0, token('H', -0.1), token('é', -0.2)),
    text('!', 0, token('!', -0.5)),
    end('stop'),
    text('x', 1),
    end('length', 1),
    done,
  ];

  it('is the object of the API, a choice for each prompt', async () => {
    const answer: OpenAI.Completion = await completion(question, stream(events), CARD, HEAD);
    expect(answer).toMatchObject({ id: `cmpl-${HEAD.id}`, object: 'text_completion', model: CARD.id, usage });
    expect(answer.choices).toEqual([
      {
        index: 0,
        text: 'Hé!',
        finish_reason: 'stop',
        logprobs: {
          tokens: ['H', 'é', '!'],
          token_logprobs: [-0.1, -0.2, -0.5],
          top_logprobs: [{ H: -0.1, '?': -3 }, { é: -0.2, '?': -3 }, { '!': -0.5, '?': -3 }], // prettier-ignore
          text_offset: [0, 1, 2],
        },
      },
      {
        index: 1,
        text: 'x',
        finish_reason: 'length',
        logprobs: { tokens: [], token_logprobs: [], top_logprobs: [], text_offset: [] },
      },
    ]);
  });

  it('comes in chunks with the places of their tokens', async () => {
    const chunks = await collect(completionChunks(question, stream(events), CARD, HEAD));
    const told = chunks.map(({ choices: [choice] }) => [
      choice?.index,
      choice?.text,
      choice?.finish_reason,
      choice?.logprobs?.text_offset,
    ]);
    expect(told).toEqual([
      [0, 'Hé', null, [0, 1]],
      [0, '!', null, [2]],
      [0, '', 'stop', undefined],
      [1, 'x', null, undefined],
      [1, '', 'length', undefined],
    ]);
  });
});

describe('an error', () => {
  it.each<[string, object, number, object]>([
    ['bad-argument', { param: 'n' }, 400, { type: 'invalid_request_error', param: 'n', code: null }],
    [
      'bad-argument',
      { param: 'messages', apiCode: 'context_length_exceeded' },
      400,
      { code: 'context_length_exceeded' },
    ],
    ['model-unsupported', {}, 400, { type: 'invalid_request_error' }],
    ['model-missing', {}, 404, { code: 'model_not_found', param: 'model' }],
    ['busy', { retryAfterSeconds: 2.2, queuePosition: 7 }, 429, { retryAfterSeconds: 3, queuePosition: 7 }],
    ['busy', {}, 429, { retryAfterSeconds: 1, code: 'rate_limit_exceeded' }],
    ['no-route', {}, 503, { type: 'server_error' }],
    ['server-lost', {}, 503, {}],
    ['timeout', {}, 504, {}],
    ['aborted', {}, 499, {}],
  ])('%s with %j has status %i', (code, data, status, fields) => {
    const error = new SkeinError(code as 'busy', 'What happened.', { data: data as Record<string, string> });
    expect(apiProblem(error)).toMatchObject({ status, message: 'What happened.', ...fields });
  });

  it('has a status whatever it is, and no inner words where the caller is not meant', () => {
    for (const code of ERROR_CODES) {
      const { status, message } = apiProblem(new SkeinError(code, 'secret path /x'));
      expect(status).toBeGreaterThanOrEqual(400);
      if (status === 500) expect(message).not.toContain('secret');
    }
    expect(apiProblem(new TypeError('x is undefined'))).toMatchObject({ status: 500, type: 'server_error' });
    expect(apiProblem('x').message).not.toContain('x is');
  });

  it('is written as the API does', () => {
    const problem = apiProblem(new SkeinError('bad-argument', "'n' is 0.", { data: { param: 'n' } }));
    expect(problemBody(problem)).toEqual({
      error: { message: "'n' is 0.", type: 'invalid_request_error', param: 'n', code: null },
    });
  });
});
