import OpenAI from 'openai';
import { describe, expect, test } from 'vitest';
import type { AnswerPiece } from '../../../../src/client/api/answer-events.ts';
import { parseResponsesRequest } from '../../../../src/client/api/responses-request.ts';
import { responseEvents, wholeResponse } from '../../../../src/client/api/responses-response.ts';
import { SkeinError } from '../../../../src/protocol/errors.ts';
import { call, HEAD, jsonFetch, reasoning, scored, scripted, sseFetch, text } from './scripted-answer.ts';

const PARAMS = { model: 'skein-tiny', input: 'Hello', temperature: 0.5, metadata: { of: 'a test' } };
const question = parseResponsesRequest(PARAMS);

const clientOver = (fetch: typeof globalThis.fetch) =>
  new OpenAI({ apiKey: 'none', baseURL: 'http://mesh.invalid/v1', fetch, maxRetries: 0 });

async function eventsOf(...answer: Parameters<typeof scripted>) {
  const events = [];
  for await (const event of responseEvents(question, scripted(...answer), HEAD)) events.push(event);
  return events;
}

const ANSWERS: readonly { name: string; pieces: AnswerPiece[]; end: 'stop' | 'length' | 'tool-calls' }[] = [
  { name: 'text', pieces: [text('Hel'), text('lo.')], end: 'stop' },
  { name: 'thoughts and text', pieces: [reasoning('Hm'), reasoning('. '), text('Hello.')], end: 'stop' },
  { name: 'nothing', pieces: [], end: 'stop' },
  { name: 'thoughts that were cut', pieces: [reasoning('Well')], end: 'length' },
  {
    name: 'text and two calls',
    pieces: [text('Let me see.'), ...call(0, 'get_time', '{}'), ...call(1, 'add', '{"a": 1, "b": 2}')],
    end: 'tool-calls',
  },
];

describe('a response', () => {
  test.each(ANSWERS)('of $name is the same whole and streamed', async ({ pieces, end }) => {
    const events = sseFetch(() => responseEvents(question, scripted(pieces, { end }), HEAD));
    const streamed = await clientOver(events.fetch).responses.stream(PARAMS).finalResponse();
    const client = clientOver(jsonFetch(() => wholeResponse(question, scripted(pieces, { end }), HEAD)));
    const whole = await client.responses.create(PARAMS);
    expect(streamed.output_text).toBe(whole.output_text);
    // The helper of streams adds what it parsed.
    expect(streamed.output.map((item) => ({ ...item, parsed_arguments: undefined }))).toMatchObject(
      whole.output,
    );
    expect(whole.output).toHaveLength(streamed.output.length);
    expect(streamed.usage).toEqual(whole.usage);
    expect(streamed.status).toBe(end === 'length' ? 'incomplete' : 'completed');
  });

  test('accumulates to the same by its deltas alone', async () => {
    for (const { pieces, end } of ANSWERS) {
      const events = await eventsOf(pieces, { end });
      const deltas = (type: string) =>
        events
          .filter((event) => event.type === type)
          .map((event) => String(event['delta']))
          .join('');
      const said = (type: AnswerPiece['type']) =>
        pieces
          .map((piece) =>
            piece.type !== type ? '' : 'json' in piece ? piece.json : 'text' in piece ? piece.text : '',
          )
          .join('');
      expect(deltas('response.output_text.delta')).toBe(said('text'));
      expect(deltas('response.reasoning_text.delta')).toBe(said('reasoning'));
      expect(deltas('response.function_call_arguments.delta')).toBe(said('tool-arguments'));
    }
  });

  test('has the events of the API, in order and numbered', async () => {
    const events = await eventsOf([reasoning('Hm'), text('Hi'), ...call(0, 'add', '{"a":1}')], {
      end: 'tool-calls',
    });
    expect(events.map(({ sequence_number }) => sequence_number)).toEqual(events.map((_, index) => index));
    expect(events.map(({ type, output_index }) => [type, output_index])).toEqual([
      ['response.created', undefined],
      ['response.in_progress', undefined],
      ['response.output_item.added', 0],
      ['response.content_part.added', 0],
      ['response.reasoning_text.delta', 0],
      ['response.reasoning_text.done', 0],
      ['response.content_part.done', 0],
      ['response.output_item.done', 0],
      ['response.output_item.added', 1],
      ['response.content_part.added', 1],
      ['response.output_text.delta', 1],
      ['response.output_text.done', 1],
      ['response.content_part.done', 1],
      ['response.output_item.done', 1],
      ['response.output_item.added', 2],
      ['response.function_call_arguments.delta', 2],
      ['response.function_call_arguments.delta', 2],
      ['response.function_call_arguments.done', 2],
      ['response.output_item.done', 2],
      ['response.completed', undefined],
    ]);
    const ids = events.flatMap(({ item_id: id }) => (typeof id === 'string' ? [id] : []));
    expect(new Set(ids).size).toBe(3);
  });

  test('repeats its parameters, and says what it took', async () => {
    const whole = await wholeResponse(question, scripted([text('Hello.')]), HEAD);
    expect(whole).toMatchObject({
      id: `resp_${HEAD.id}`,
      object: 'response',
      created_at: HEAD.createdSeconds,
      status: 'completed',
      error: null,
      incomplete_details: null,
      model: 'skein-tiny',
      temperature: 0.5,
      top_p: 1,
      metadata: { of: 'a test' },
      tool_choice: 'auto',
      tools: [],
      store: false,
      usage: {
        input_tokens: 40,
        input_tokens_details: { cached_tokens: 16, cache_write_tokens: 0 },
        output_tokens: 9,
        output_tokens_details: { reasoning_tokens: 4 },
        total_tokens: 49,
      },
    });
  });

  test('that was cut is incomplete, and so is its last item', async () => {
    const pieces = [text('Now: '), ...call(0, 'add', '{"a": 1')];
    const whole = await wholeResponse(question, scripted(pieces, { end: 'length' }), HEAD);
    expect(whole).toMatchObject({
      status: 'incomplete',
      incomplete_details: { reason: 'max_output_tokens' },
      output: [{ status: 'completed' }, { status: 'incomplete', arguments: '{"a": 1' }],
    });
  });

  test('has every token with its log-probability, also of text that comes late', async () => {
    const pieces = [
      text('', [scored('\uFFFD', -1)]),
      text('é', [scored('\uFFFD', -2)]),
      text('', [scored('!', -3)]),
    ];
    const whole = await wholeResponse(question, scripted(pieces), HEAD);
    expect(whole.output).toMatchObject([
      { content: [{ text: 'é', logprobs: [{ logprob: -1 }, { logprob: -2 }, { logprob: -3, token: '!' }] }] },
    ]);
  });
});

describe('an answer that fails', () => {
  const busy = new SkeinError('busy', 'The mesh is full.');

  test('before it began throws, and nothing was said', async () => {
    const events = responseEvents(question, scripted([], { failure: busy }), HEAD);
    await expect(events.next()).rejects.toBe(busy);
  });

  test('later is a failed response with what was said in whole items, and throws then', async () => {
    const events: object[] = [];
    const answer = scripted([reasoning('Hm'), text('Hel')], { failure: busy });
    const read = (async () => {
      for await (const event of responseEvents(question, answer, HEAD)) events.push(event);
    })();
    await expect(read).rejects.toBe(busy);
    expect(events.at(-1)).toMatchObject({
      type: 'response.failed',
      sequence_number: events.length - 1,
      response: {
        status: 'failed',
        error: { code: 'rate_limit_exceeded', message: 'The mesh is full.' },
        output: [{ type: 'reasoning' }],
        usage: null,
      },
    });
  });

  test('of inner faults has no inner words', async () => {
    const answer = scripted([text('Hel')], { failure: new Error('secret') });
    const events = sseFetch(() => responseEvents(question, answer, HEAD));
    const response = await clientOver(events.fetch).responses.stream(PARAMS).finalResponse();
    expect(response.status).toBe('failed');
    expect(JSON.stringify(response)).not.toContain('secret');
  });

  test('that ends without an end is a fault', async () => {
    const cut = (async function* () {
      for await (const event of scripted([text('Hel')])) if (event.type !== 'done') yield event;
    })();
    await expect(wholeResponse(question, cut, HEAD)).rejects.toMatchObject({ code: 'internal' });
  });

  test('is ended when nobody reads on', async () => {
    let isEnded = false;
    const answer = (async function* () {
      try {
        yield* scripted([text('Hel'), text('lo')]);
      } finally {
        isEnded = true;
      }
    })();
    for await (const event of responseEvents(question, answer, HEAD)) {
      if (event.type === 'response.output_text.delta') break;
    }
    expect(isEnded).toBe(true);
  });
});
