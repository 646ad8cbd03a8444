import Anthropic from '@anthropic-ai/sdk';
import { describe, expect, test } from 'vitest';
import type { AnswerPiece } from '../../../../src/client/api/answer-events.ts';
import { parseMessagesRequest } from '../../../../src/client/api/messages-request.ts';
import { messageEvents, wholeMessage } from '../../../../src/client/api/messages-response.ts';
import { SkeinError } from '../../../../src/protocol/errors.ts';
import { call, HEAD, jsonFetch, reasoning, scripted, sseFetch, text } from './scripted-answer.ts';

const PARAMS = {
  model: 'skein-tiny',
  max_tokens: 9,
  messages: [{ role: 'user' as const, content: 'Hello' }],
};
const question = parseMessagesRequest(PARAMS);

const clientOver = (fetch: typeof globalThis.fetch) =>
  new Anthropic({ apiKey: 'none', baseURL: 'http://mesh.invalid', fetch, maxRetries: 0 });

async function eventsOf(...answer: Parameters<typeof scripted>) {
  const events = [];
  for await (const event of messageEvents(question, scripted(...answer), HEAD)) events.push(event);
  return events;
}

const ANSWERS: readonly { name: string; pieces: AnswerPiece[]; end: 'stop' | 'length' | 'tool-calls' }[] = [
  { name: 'text', pieces: [text('Hel'), text(''), text('lo.')], end: 'stop' },
  { name: 'thoughts and text', pieces: [reasoning('Hm'), reasoning('. '), text('Hello.')], end: 'stop' },
  { name: 'nothing', pieces: [], end: 'stop' },
  {
    name: 'text and two calls',
    pieces: [text('Let me see.'), ...call(0, 'get_time', '{}'), ...call(1, 'add', '{"a": 1, "b": [2]}')],
    end: 'tool-calls',
  },
];

describe('a message', () => {
  test.each(ANSWERS)('of $name is the same whole and streamed', async ({ pieces, end }) => {
    const events = sseFetch(() => messageEvents(question, scripted(pieces, { end }), HEAD));
    const streamed = await clientOver(events.fetch).messages.stream(PARAMS).finalMessage();
    const client = clientOver(jsonFetch(() => wholeMessage(question, scripted(pieces, { end }), HEAD)));
    const whole = await client.messages.create(PARAMS);
    // The helper of streams adds what it parsed.
    expect(JSON.parse(JSON.stringify(streamed))).toMatchObject(JSON.parse(JSON.stringify(whole)) as object);
    expect(streamed.content).toHaveLength(whole.content.length);
    expect(streamed.stop_reason).toBe(end === 'stop' ? 'end_turn' : 'tool_use');
  });

  test('has what the model said, thought and called', async () => {
    const pieces = [reasoning('H'), reasoning('m'), text('Hi'), ...call(0, 'add', '{"a": 1}')];
    const whole = await wholeMessage(question, scripted(pieces, { end: 'tool-calls' }), HEAD);
    expect(whole).toMatchObject({
      id: `msg_${HEAD.id}`,
      type: 'message',
      role: 'assistant',
      model: 'skein-tiny',
      stop_reason: 'tool_use',
      stop_sequence: null,
      content: [
        { type: 'thinking', thinking: 'Hm', signature: HEAD.id },
        { type: 'text', text: 'Hi' },
        { type: 'tool_use', id: 'call_0', name: 'add', input: { a: 1 } },
      ],
      usage: {
        input_tokens: 24,
        cache_read_input_tokens: 16,
        cache_creation_input_tokens: 0,
        output_tokens: 9,
        output_tokens_details: { thinking_tokens: 4 },
      },
    });
  });

  test('has the events of the API, in order', async () => {
    const events = await eventsOf([reasoning('Hm'), text('Hi'), ...call(0, 'add', '{"a":1}')], {
      end: 'tool-calls',
    });
    const kindOf = ({ delta }: (typeof events)[number]) =>
      typeof delta === 'object' && delta !== null && 'type' in delta ? delta.type : undefined;
    expect(events.map((event) => [event.type, event['index'], kindOf(event)])).toEqual([
      ['message_start', undefined, undefined],
      ['ping', undefined, undefined],
      ['content_block_start', 0, undefined],
      ['content_block_delta', 0, 'thinking_delta'],
      ['content_block_delta', 0, 'signature_delta'],
      ['content_block_stop', 0, undefined],
      ['content_block_start', 1, undefined],
      ['content_block_delta', 1, 'text_delta'],
      ['content_block_stop', 1, undefined],
      ['content_block_start', 2, undefined],
      ['content_block_delta', 2, 'input_json_delta'],
      ['content_block_delta', 2, 'input_json_delta'],
      ['content_block_stop', 2, undefined],
      ['message_delta', undefined, undefined],
      ['message_stop', undefined, undefined],
    ]);
    expect(events[0]).toMatchObject({
      message: { content: [], stop_reason: null, usage: { input_tokens: 40 } },
    });
    expect(events.at(-2)).toMatchObject({ usage: { input_tokens: 24, cache_read_input_tokens: 16 } });
  });

  test.each([
    [{ end: 'stop', stopString: 'END' }, 'stop_sequence', 'END'],
    [{ end: 'length', tokens: 9 }, 'max_tokens', null],
    [{ end: 'length', tokens: 8 }, 'model_context_window_exceeded', null],
  ] as const)('says why it stopped: %j', async (ending, reason, sequence) => {
    const whole = await wholeMessage(question, scripted([text('Hi')], ending), HEAD);
    expect(whole).toMatchObject({ stop_reason: reason, stop_sequence: sequence });
  });

  test('has no call whose arguments were cut', async () => {
    for (const json of ['{"a": 1', '', '[1]', 'null']) {
      const pieces = [text('Now:'), ...call(0, 'add', json)];
      const whole = await wholeMessage(question, scripted(pieces, { end: 'length' }), HEAD);
      expect(whole.content).toEqual([{ type: 'text', text: 'Now:', citations: null }]);
    }
  });

  test('keeps thoughts to itself when asked to', async () => {
    const silent = parseMessagesRequest({
      ...PARAMS,
      max_tokens: 2000,
      thinking: { type: 'enabled', budget_tokens: 1024, display: 'omitted' },
    });
    const pieces = [reasoning('secret'), text('Hi')];
    const whole = await wholeMessage(silent, scripted(pieces), HEAD);
    expect(whole.content).toMatchObject([
      { type: 'thinking', thinking: '', signature: HEAD.id },
      { text: 'Hi' },
    ]);
    for await (const event of messageEvents(silent, scripted(pieces), HEAD)) {
      expect(JSON.stringify(event)).not.toContain('secret');
    }
  });
});

describe('an answer that fails', () => {
  const busy = new SkeinError('busy', 'The mesh is full.');

  test('before it began throws, and nothing was said', async () => {
    await expect(messageEvents(question, scripted([], { failure: busy }), HEAD).next()).rejects.toBe(busy);
    await expect(wholeMessage(question, scripted([], { failure: busy }), HEAD)).rejects.toBe(busy);
  });

  test("later is the client's own error", async () => {
    const answer = () => scripted([text('Hel')], { failure: busy });
    await expect(eventsOf([text('Hel')], { failure: busy })).rejects.toBe(busy);
    const events = sseFetch(() => messageEvents(question, answer(), HEAD));
    const message = clientOver(events.fetch).messages.stream(PARAMS).finalMessage();
    await expect(message).rejects.toThrow(Anthropic.APIError);
    await expect(message).rejects.toMatchObject({ type: 'rate_limit_error' });
  });

  test('of inner faults has no inner words', async () => {
    const said: object[] = [];
    const read = (async () => {
      const answer = scripted([text('Hel')], { failure: new Error('secret') });
      for await (const event of messageEvents(question, answer, HEAD)) said.push(event);
    })();
    await expect(read).rejects.toThrow('secret');
    expect(said.at(-1)).toMatchObject({ type: 'error', error: { type: 'api_error' } });
    expect(JSON.stringify(said)).not.toContain('secret');
  });

  test('that ends without an end is a fault', async () => {
    const cut = async function* () {
      for await (const event of scripted([text('Hel')])) if (event.type !== 'done') yield event;
    };
    await expect(wholeMessage(question, cut(), HEAD)).rejects.toMatchObject({ code: 'internal' });
    const last = async () => {
      for await (const event of messageEvents(question, cut(), HEAD))
        if (event.type === 'message_stop') return;
    };
    await expect(last()).rejects.toMatchObject({ code: 'internal' });
  });
});
