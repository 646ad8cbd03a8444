import { describe, expect, it, vi } from 'vitest';
import type { AnswerEvent } from '../../../../src/client/api/answer-events.ts';
import { SkeinError } from '../../../../src/protocol/errors.ts';
import { hashApiKey } from '../../../../signaling/gateway/api-keys.ts';
import { ANONYMOUS_LIMITS } from '../../../../signaling/gateway/limits.ts';
import type { Answer } from '../../../../signaling/gateway/serve-question.ts';
import { GatewayRig, helloAnswer, pieces, queued, QUESTION, USAGE, waiting } from './gateway-rig.ts';

const MESSAGE = { model: 'model', max_tokens: 10, messages: [{ role: 'user', content: 'Hello' }] };

/** Answers so, whatever is asked. */
const answering = (...events: readonly (AnswerEvent | SkeinError)[]): Answer =>
  async function* () {
    await Promise.resolve();
    for (const event of events) {
      if (event instanceof SkeinError) throw event;
      yield event;
    }
  };

/** Goes on until it is told to stop, and says that it did. */
function endlessAnswer() {
  const ended = vi.fn();
  const answer: Answer = async function* (_queries, _model, signal) {
    try {
      yield { type: 'prompt', tokens: 5 };
      for (;;) {
        yield { type: 'text', choice: 0, text: 'x'.repeat(1000), tokens: [] };
        await new Promise((resolve) => setImmediate(resolve));
        signal.throwIfAborted();
      }
    } finally {
      ended();
    }
  };
  return { answer, ended };
}

const json = async (response: Response): Promise<Record<string, unknown>> =>
  (await response.json()) as Record<string, unknown>;
const BUSY = new SkeinError('busy', 'full', { data: { retryAfterSeconds: 7, queuePosition: 1025 } });

describe('a question', () => {
  it('to chat completions is answered whole', async () => {
    const response = await new GatewayRig().chat();
    expect(response.status).toBe(200);
    expect(await json(response)).toMatchObject({
      object: 'chat.completion',
      model: 'model',
      choices: [{ message: { role: 'assistant', content: 'Hello!' }, finish_reason: 'stop' }],
      usage: { prompt_tokens: 5, completion_tokens: 3, prompt_tokens_details: { cached_tokens: 2 } },
    });
  });

  it('is answered by every API in its own words', async () => {
    const rig = new GatewayRig();
    const text = await rig.post('/v1/completions', { model: 'model', prompt: 'Hello' });
    expect(await json(text)).toMatchObject({ object: 'text_completion', choices: [{ text: 'Hello!' }] });
    const response = await rig.post('/v1/responses', { model: 'model', input: 'Hello' });
    expect(await json(response)).toMatchObject({ object: 'response', status: 'completed' });
    const message = await rig.post('/v1/messages', MESSAGE);
    expect(await json(message)).toMatchObject({
      type: 'message',
      content: [{ type: 'text', text: 'Hello!' }],
    });
  });

  it('is told by an id, and never kept', async () => {
    const { headers } = await new GatewayRig().chat();
    expect(headers.get('x-request-id')).toMatch(/^req_[0-9a-f]{32}$/);
    expect(headers.get('request-id')).toBe(headers.get('x-request-id'));
    expect(headers.get('cache-control')).toBe('no-store');
  });

  it.each([
    ['another model', { model: 'other' }, 404, 'model_not_found', 'model'],
    ['a parameter out of range', { temperature: 9 }, 400, null, 'temperature'],
    ['an unknown parameter', { colour: 'red' }, 400, null, 'colour'],
    ['no messages', { messages: [] }, 400, null, 'messages'],
  ])('with %s is refused by name', async (_what, changes, status, code, param) => {
    const response = await new GatewayRig().chat(changes);
    expect(response.status).toBe(status);
    expect(await json(response)).toMatchObject({ error: { type: 'invalid_request_error', code, param } });
  });

  it("is refused in Anthropic's shape where it came in Anthropic's", async () => {
    const response = await new GatewayRig().post('/v1/messages', { ...MESSAGE, max_tokens: 0 });
    expect(response.status).toBe(400);
    expect(await json(response)).toMatchObject({ type: 'error', error: { type: 'invalid_request_error' } });
  });

  it.each([
    ['busy', BUSY, 429, 'rate_limit_error', '7'],
    ['no route', new SkeinError('no-route', 'not whole'), 503, 'server_error', '5'],
    ['time up', new SkeinError('timeout', 'over'), 504, 'server_error', null],
    ['a fault', new SkeinError('internal', 'inner words'), 500, 'server_error', null],
  ])(
    'that fails before the first byte is told by status: %s',
    async (_what, error, status, type, retryAfter) => {
      for (const stream of [false, true]) {
        const response = await new GatewayRig({ answer: answering(error) }).chat({ stream });
        expect(response.status).toBe(status);
        expect(response.headers.get('retry-after')).toBe(retryAfter);
        const body = await response.text();
        expect(JSON.parse(body)).toMatchObject({ error: { type } });
        expect(body).not.toContain('inner words');
      }
    },
  );

  it('is not made to wait where a program should be told: a full line, a model that is not whole', async () => {
    const full = await new GatewayRig({ answer: answering(waiting(BUSY), ...pieces('late')) }).chat();
    expect([full.status, full.headers.get('x-queue-position')]).toEqual([429, '1025']);
    const noRoute = waiting(new SkeinError('no-route', 'nobody', { data: { loading: true } }));
    const answer = answering(noRoute, ...pieces('late'));
    expect((await new GatewayRig({ answer }).chat()).status).toBe(503);
    expect((await new GatewayRig({ answer, routeWaitMs: 5_000 }).chat()).status).toBe(200);
  });

  it('that lost its route is waited for', async () => {
    const [first, ...rest] = pieces('Hel', 'lo!');
    const lost: AnswerEvent = {
      type: 'progress',
      choice: 0,
      progress: {
        type: 'waiting',
        error: new SkeinError('no-route', 'nobody'),
        epoch: 1,
        delayMs: 1000,
        reroute: { epoch: 0, peer: null, code: 'peer-lost', phase: 'decoding', pauseMs: 10 },
      },
    };
    const events = first === undefined ? [] : [first, lost, ...rest];
    expect((await new GatewayRig({ answer: answering(...events) }).chat()).status).toBe(200);
  });
});

describe('a stream', () => {
  it('has one chunk after another, and a last word', async () => {
    const response = await new GatewayRig().chat({ stream: true });
    expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
    const events = (await response.text()).trimEnd().split('\n\n');
    expect(events.at(-1)).toBe('data: [DONE]');
    const deltas = events.slice(0, -1).map((event) => JSON.parse(event.replace(/^data: /, '')) as object);
    expect(deltas.every((delta) => 'object' in delta && delta.object === 'chat.completion.chunk')).toBe(true);
  });

  it('of messages names its events', async () => {
    const response = await new GatewayRig().post('/v1/messages', { ...MESSAGE, stream: true });
    const names = [...(await response.text()).matchAll(/^event: (.+)$/gm)].map(([, name]) => name);
    expect(names[0]).toBe('message_start');
    expect(names.at(-1)).toBe('message_stop');
  });

  it('begins in line with its place, and says every change of it', async () => {
    const response = await new GatewayRig({ answer: answering(queued(3), ...pieces('Hello!')) }).chat({
      stream: true,
    });
    expect([response.status, response.headers.get('x-queue-position')]).toEqual([200, '3']);
    expect(await response.text()).toMatch(/^: queued position 3\n\ndata: /);
  });

  it.each([
    ['/v1/chat/completions', QUESTION, /data: \{"error":\{"message":"over".*"type":"server_error"/],
    [
      '/v1/responses',
      { model: 'model', input: 'Hello' },
      /event: error\ndata: \{"type":"error".*"sequence_number":0/,
    ],
    ['/v1/messages', MESSAGE, /event: error\ndata: \{"type":"error","error":\{"type":"timeout_error"/],
  ])('that fails in line at %s ends with an error event', async (path, body, expected) => {
    const answer = answering(queued(3), new SkeinError('timeout', 'over'));
    const rig = new GatewayRig({ answer });
    const text = await (await rig.post(path, { ...body, stream: true })).text();
    expect(text).toMatch(expected);
    expect(text).not.toContain('[DONE]');
    expect(rig.logLines.join()).toContain('status=504 error=timeout');
  });

  it.each([
    ['/v1/chat/completions', QUESTION],
    ['/v1/responses', { model: 'model', input: 'Hello' }],
    ['/v1/messages', MESSAGE],
  ])('that fails after a piece at %s tells so once', async (path, body) => {
    const [prompt, piece] = pieces('Hello');
    const events = prompt && piece ? [prompt, piece, new SkeinError('timeout', 'over')] : [];
    const rig = new GatewayRig({ answer: answering(...events) });
    const text = await (await rig.post(path, { ...body, stream: true })).text();
    expect(text.match(/"over"/g)).toHaveLength(1);
  });

  it('whose reader goes away ends the answer, and is written down as such', async () => {
    const { answer, ended } = endlessAnswer();
    const rig = new GatewayRig({ answer });
    const response = await rig.chat({ stream: true });
    const reader = response.body?.getReader();
    await reader?.read();
    expect(await rig.metric('skein_api_requests_active')).toBe(1);
    await reader?.cancel();
    await vi.waitFor(() => expect(ended).toHaveBeenCalledTimes(1));
    expect(rig.logLines.join()).toContain('status=499 error=aborted');
    expect(await rig.metric('skein_api_requests_active')).toBe(0);
  });

  it('that nobody reads makes its answer wait', async () => {
    let asked = 0;
    const answer: Answer = async function* () {
      await Promise.resolve();
      yield { type: 'prompt', tokens: 5 };
      for (;;) {
        asked += 1;
        yield { type: 'text', choice: 0, text: 'x', tokens: [] };
      }
    };
    const response = await new GatewayRig({ answer }).chat({ stream: true });
    for (let turn = 0; turn < 50; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    expect(asked).toBeLessThan(5);
    await response.body?.cancel();
  });

  it('and a whole answer alike end when the connection does', async () => {
    for (const stream of [true, false]) {
      const { answer, ended } = endlessAnswer();
      const gone = new AbortController();
      const response = new GatewayRig({ answer }).chat({ stream }, {}, gone.signal);
      setTimeout(() => gone.abort(), 20);
      const body = (await response).text().catch(() => '');
      await vi.waitFor(() => expect(ended).toHaveBeenCalledTimes(1));
      await body;
    }
  });
});

describe('who asks', () => {
  const keys = {
    keys: () => Promise.resolve([{ name: 'ann', sha256: hashApiKey('ann-key'), concurrent: 1 }]),
  };
  const ann = { authorization: 'Bearer ann-key' };

  it('shows a key where keys are asked for, at every endpoint', async () => {
    const rig = new GatewayRig({ keys });
    for (const headers of [{}, { authorization: 'Bearer wrong' }, { 'x-api-key': 'wrong' }]) {
      const response = await rig.chat({}, headers);
      expect(response.status).toBe(401);
      expect(await json(response)).toMatchObject({ error: { code: 'invalid_api_key' } });
      expect((await rig.get('/v1/models', headers)).status).toBe(401);
    }
    const message = await rig.post('/v1/messages', MESSAGE);
    expect([message.status, await json(message)]).toMatchObject([
      401,
      { type: 'error', error: { type: 'authentication_error' } },
    ]);
    expect((await rig.chat({}, ann)).status).toBe(200);
    expect((await rig.post('/v1/messages', MESSAGE, { 'x-api-key': 'ann-key' })).status).toBe(200);
  });

  it('is not asked for the body before the key', async () => {
    const pull = vi.fn();
    const body = new ReadableStream({ pull }, { highWaterMark: 0 });
    const init = { method: 'POST', body, duplex: 'half' } as RequestInit;
    const rig = new GatewayRig({ keys });
    const headers = { 'content-type': 'application/json' };
    expect((await rig.request('/v1/chat/completions', init, headers)).status).toBe(401);
    expect(pull).not.toHaveBeenCalled();
  });

  it('is held to the limits of the key', async () => {
    const { answer } = endlessAnswer();
    const rig = new GatewayRig({ keys, answer });
    const running = await rig.chat({ stream: true }, ann);
    const refused = await rig.chat({}, ann);
    expect(refused.status).toBe(429);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    await running.body?.cancel();
    await vi.waitFor(async () => {
      const next = await rig.chat({ stream: true }, ann);
      expect(next.status).toBe(200);
      await next.body?.cancel();
    });
  });

  it('without keys is held to limits by address, but on this machine', async () => {
    const rig = new GatewayRig({ answer: endlessAnswer().answer });
    rig.address = '10.0.0.1';
    const running = [];
    for (let count = 0; count < ANONYMOUS_LIMITS.concurrent; count += 1)
      running.push(await rig.chat({ stream: true }));
    expect((await rig.chat()).status).toBe(429);
    rig.address = '10.0.0.2';
    running.push(await rig.chat({ stream: true }));
    expect(running.map(({ status }) => status)).toEqual(running.map(() => 200));
    for (const response of running) await response.body?.cancel();
  });

  it('finds no room where too many ask', async () => {
    const rig = new GatewayRig({ answer: endlessAnswer().answer, maxRequests: 1 });
    const running = await rig.chat({ stream: true });
    const refused = await rig.chat();
    expect([refused.status, refused.headers.get('x-queue-position')]).toEqual([429, '2']);
    await running.body?.cancel();
  });
});

describe('HTTP', () => {
  it.each([
    ['GET', '/v1/chat/completions', 405, 'POST'],
    ['DELETE', '/v1/models', 405, 'GET, HEAD'],
    ['PUT', '/v1/messages', 405, 'POST'],
    ['POST', '/v1/nothing', 404, null],
    ['GET', '/v1/nothing', 404, null],
    ['GET', '/v1/models/nothing', 404, null],
  ])('%s %s is %d', async (method, path, status, allow) => {
    const response = await new GatewayRig().request(path, { method });
    expect([response.status, response.headers.get('allow')]).toEqual([status, allow]);
    const body = await json(response);
    if (path.startsWith('/v1/messages')) expect(body).toMatchObject({ type: 'error', error: {} });
    else
      expect(body).toMatchObject({
        error: { type: 'invalid_request_error', message: expect.any(String) as string },
      });
  });

  it('knows how long a body may be', async () => {
    const rig = new GatewayRig({ maxBodyBytes: 1000 });
    const long = { ...QUESTION, messages: [{ role: 'user', content: 'x'.repeat(1000) }] };
    const response = await rig.post('/v1/chat/completions', long);
    expect([response.status, await json(response)]).toMatchObject([
      413,
      { error: { code: 'request_too_large' } },
    ]);
  });

  it('tells of its models, one and all, in the shape that is asked for', async () => {
    const rig = new GatewayRig();
    expect(await json(await rig.get('/v1/models'))).toMatchObject({
      object: 'list',
      data: [{ id: 'model', object: 'model' }],
    });
    expect(await json(await rig.get('/v1/models/model'))).toMatchObject({ id: 'model', object: 'model' });
    const anthropic = { 'anthropic-version': '2023-06-01' };
    expect(await json(await rig.get('/v1/models', anthropic))).toMatchObject({
      data: [{ type: 'model', id: 'model' }],
      has_more: false,
    });
  });
});

describe('what is written down', () => {
  it('is one line of a request, without a word of what it says', async () => {
    const rig = new GatewayRig({ answer: answering(queued(2), ...pieces('secret answer')) });
    const secret = { messages: [{ role: 'user', content: 'secret question' }], user: 'secret user' };
    await (await rig.chat({ ...secret, stream: true })).text();
    await rig.chat({ ...secret, model: 'secret-model' });
    await rig.post('/v1/secret', {});
    expect(rig.logLines).toHaveLength(3);
    expect(rig.logLines.join('\n')).not.toContain('secret');
    expect(rig.logLines[0]).toMatch(
      /^api request=req_\w+ endpoint=chat.completions model=model caller=127.0.0.1 status=200 stream=true promptTokens=5 cachedTokens=2 completionTokens=3 queuedMs=\d+ firstMs=\d+ totalMs=\d+ reroutes=0$/,
    );
    expect(await rig.registry.metrics()).not.toContain('secret');
  });

  it('is counted', async () => {
    const rig = new GatewayRig();
    await rig.chat();
    await (await rig.chat({ stream: true })).text();
    await rig.chat({ temperature: 9 });
    const labels = 'endpoint="chat.completions",model="model"';
    expect(await rig.metric(`skein_api_requests_total{${labels},status="200"}`)).toBe(2);
    expect(await rig.metric('skein_api_rejects_total{reason="bad-argument"}')).toBe(1);
    expect(await rig.metric('skein_api_tokens_total{model="model",kind="prompt"}')).toBe(
      2 * USAGE.promptTokens,
    );
    expect(await rig.metric('skein_api_tokens_total{model="model",kind="cached"}')).toBe(
      2 * USAGE.cachedTokens,
    );
    expect(await rig.metric('skein_api_tokens_total{model="model",kind="completion"}')).toBe(6);
    expect(await rig.metric(`skein_api_time_to_first_token_seconds_count{${labels}}`)).toBe(2);
    expect(await rig.metric('skein_api_inter_token_seconds_count{model="model"}')).toBe(2);
    expect(await rig.metric('skein_mesh_queue_length')).toBe(4);
    expect(await rig.metric('skein_peers')).toBe(3);
    expect(await rig.registry.metrics()).toContain('process_cpu_seconds_total');
  });

  it('names stages only while they serve', async () => {
    const stage = { peer: 'aa', model: 'model', layerStart: 0, layerEnd: 4, busyShare: 0.25 };
    const stages = [stage] as never[];
    const mesh = () => ({ peers: 0, contributors: 0, requests: 0, queued: 0, stages });
    const rig = new GatewayRig({ mesh });
    const series = 'skein_stage_busy_share{peer="aa",model="model",layers="0-4"}';
    expect(await rig.metric(series)).toBe(0.25);
    stages.length = 0;
    expect(await rig.registry.metrics()).not.toContain(series);
  });

  it('is shown to this machine and to the operator, unless everybody may see it', async () => {
    const rig = new GatewayRig({ isOperator: (key) => key === 'operator' });
    expect((await rig.get('/metrics')).status).toBe(200);
    expect((await rig.get('/metrics', { 'x-forwarded-for': '10.0.0.1' })).status).toBe(401);
    rig.address = '10.0.0.1';
    expect((await rig.get('/metrics')).status).toBe(401);
    expect((await rig.get('/metrics', { authorization: 'Bearer wrong' })).status).toBe(401);
    expect((await rig.get('/metrics', { authorization: 'Bearer operator' })).status).toBe(200);
    const open = new GatewayRig({ isMetricsPublic: true });
    open.address = '10.0.0.1';
    expect((await open.get('/metrics')).status).toBe(200);
  });
});

describe('answers under way', () => {
  it('do not stand in each others way', async () => {
    const rig = new GatewayRig({ answer: helloAnswer });
    const responses = await Promise.all(Array.from({ length: 64 }, () => rig.chat({ stream: true })));
    const texts = await Promise.all(responses.map((response) => response.text()));
    expect(texts.every((text) => text.endsWith('data: [DONE]\n\n'))).toBe(true);
    expect(rig.logLines).toHaveLength(64);
  });
});
