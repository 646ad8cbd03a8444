import fc from 'fast-check';
import { afterEach, expect, inject, it } from 'vitest';
import { MODEL, openai } from './clients.ts';
import { goldenAnswer } from './golden.ts';
import { dribble, headOf, openSocket, restOf } from './raw-http.ts';
import { serverMetric, until } from './server-figures.ts';
import { TOOLS } from './tools.ts';

const url = inject('serverUrl');
const GOLDEN = goldenAnswer('What is 7 * 8?');
const MIB = 1024 * 1024;
const HUGE_MIB = 50;
/** The most that memory may grow by, as long runs hold it to. */
const MAX_GROWTH = 1.5;
const MUTATIONS = 200;
const SLOW_CLIENTS = 16;

const QUESTION = { model: MODEL, messages: [{ role: 'user', content: 'Hello!' }] };
const TEXT = JSON.stringify(QUESTION);
const JSON_TYPE = { 'content-type': 'application/json' };

const ENDPOINTS = [
  '/v1/chat/completions',
  '/v1/completions',
  '/v1/responses',
  '/v1/embeddings',
  '/v1/messages',
  '/v1/messages/count_tokens',
];

async function post(path: string, body: BodyInit, headers: Record<string, string> = JSON_TYPE) {
  const response = await fetch(url + path, { method: 'POST', body, headers });
  return { status: response.status, body: (await response.json()) as unknown };
}

/** An error, in the words of the endpoint's API. */
function expectProblem(path: string, body: unknown): void {
  const message = expect.stringMatching(/./) as string;
  const type = expect.stringMatching(/_error$|^request_too_large$/) as string;
  if (path.startsWith('/v1/messages')) {
    expect(body).toEqual({ type: 'error', error: { type, message } });
    return;
  }
  const textOrNull = expect.toSatisfy((value) => value === null || typeof value === 'string') as string;
  expect(body).toEqual({ error: { message, type, param: textOrNull, code: textOrNull } });
}

afterEach(async () => {
  await until('the gateway asks nothing', async () => {
    return (await serverMetric(url, 'skein_api_requests_active')) === 0;
  });
  const completion = await openai().chat.completions.create({
    model: MODEL,
    temperature: 0,
    messages: [{ role: 'user', content: GOLDEN.question }],
  });
  expect(completion.choices[0]?.message.content).toBe(GOLDEN.text);
});

const badUtf8 = Buffer.concat([
  Buffer.from('{"model": "'),
  Buffer.from([0xc3, 0x28, 0xff]),
  Buffer.from('"}'),
]);
const MALFORMED: readonly (readonly [name: string, body: BodyInit])[] = [
  ['nothing', ''],
  ['half a body', TEXT.slice(0, -5)],
  ['words', 'Hello!'],
  ['bad UTF-8', new Uint8Array(badUtf8)],
  ['UTF-16', new Uint8Array(Buffer.from(TEXT, 'utf16le'))],
  ['NaN', '{"model": "skein-tiny", "temperature": NaN}'],
  ['two objects', `${TEXT}${TEXT}`],
  ['null', 'null'],
  ['a list', '[]'],
  ['a number', '1e999'],
  ['an empty object', '{}'],
  ['the wrong types', '{"model": 5, "messages": "Hello!", "prompt": {}, "input": 7, "max_tokens": "many"}'],
  ['what would be a prototype', '{"__proto__": {"model": "skein-tiny"}, "constructor": 1}'],
  ['a deep list', '['.repeat(100_000) + ']'.repeat(100_000)],
  ['a deep schema', `{"model": "skein-tiny", "tools": ${'{"a":'.repeat(5000)}1${'}'.repeat(5000)}}`],
];

it.each(ENDPOINTS)('%s refuses what is no question', async (path) => {
  for (const [name, body] of MALFORMED) {
    const answer = await post(path, body);
    expect(answer.status, name).toBe(400);
    expectProblem(path, answer.body);
  }
});

it.each(ENDPOINTS)('%s refuses what is not called JSON', async (path) => {
  for (const type of [
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=a',
    '',
  ]) {
    const answer = await post(path, TEXT, { 'content-type': type });
    expect(answer.status, type).toBe(415);
    expectProblem(path, answer.body);
  }
  const packed = await post(path, TEXT, { ...JSON_TYPE, 'content-encoding': 'gzip' });
  expect(packed.status).toBe(415);
});

it('takes no other methods and knows no other paths', async () => {
  for (const method of ['GET', 'PUT', 'DELETE', 'PATCH']) {
    const response = await fetch(`${url}/v1/chat/completions`, { method });
    expect(response.status).toBe(405);
    expect(response.headers.get('allow')).toBe('POST');
    expectProblem('/v1/chat/completions', await response.json());
  }
  const unknown = await post('/v1/images/generations', TEXT);
  expect(unknown.status).toBe(404);
  expectProblem('/v1/images/generations', unknown.body);
});

/** Without saying before how long it is. */
function endless(count: number): ReadableStream<Uint8Array> {
  const piece = new Uint8Array(MIB).fill(0x61);
  let sent = 0;
  return new ReadableStream({
    pull(controller) {
      if (sent === count) controller.close();
      else controller.enqueue(piece);
      sent += 1;
    },
  });
}

async function sendHuge(path: string): Promise<void> {
  for (const body of [new Uint8Array(HUGE_MIB * MIB).fill(0x61), endless(HUGE_MIB)]) {
    const request = { method: 'POST', body, headers: JSON_TYPE, duplex: 'half' };
    const response = await fetch(url + path, request);
    expect(response.status).toBe(413);
    expectProblem(path, await response.json());
  }
}

it('refuses fifty megabytes, announced or not, and keeps none of them', async () => {
  for (const path of ENDPOINTS) await sendHuge(path);
  const before = await serverMetric(url, 'process_resident_memory_bytes');
  for (let round = 0; round < 3; round++) for (const path of ENDPOINTS) await sendHuge(path);
  const after = await serverMetric(url, 'process_resident_memory_bytes');
  expect(after / before).toBeLessThan(MAX_GROWTH);
});

it('answers others while some take their time with what they ask', async () => {
  const slow = await Promise.all(
    Array.from({ length: SLOW_CLIENTS }, async () => {
      const socket = await openSocket(url);
      socket.write(headOf(url, '/v1/chat/completions', TEXT.length + 1000));
      return { socket, stop: dribble(socket, TEXT) };
    }),
  );
  try {
    await until('the slow ones are asking', async () => {
      return (await serverMetric(url, 'skein_api_requests_active')) === SLOW_CLIENTS;
    });
    const completion = await openai().chat.completions.create({
      model: MODEL,
      temperature: 0,
      messages: [{ role: 'user', content: GOLDEN.question }],
    });
    expect(completion.choices[0]?.message.content).toBe(GOLDEN.text);
  } finally {
    for (const { socket, stop } of slow) {
      stop();
      socket.destroy();
    }
  }
});

it('forgets who hangs up in a question, or says that it will say no more', async () => {
  const head = headOf(url, '/v1/chat/completions', TEXT.length);
  const half = await openSocket(url);
  half.end(head + TEXT.slice(0, 20));
  expect(await restOf(half)).not.toContain('200 OK');
  const gone = await openSocket(url);
  gone.write(head + TEXT.slice(0, 20));
  await until('it is asking', async () => (await serverMetric(url, 'skein_api_requests_active')) === 1);
  gone.destroy();
  const reset = await openSocket(url);
  reset.write(head + TEXT);
  reset.resetAndDestroy();
});

const GARBAGE = [
  'GET / HTTP/9.9\r\n\r\n',
  'POST /v1/chat/completions HTTP/1.1\r\ncontent-length: -5\r\n\r\n',
  'POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
  `GET /v1/models HTTP/1.1\r\nhost: a\r\nx: ${'y'.repeat(100_000)}\r\n\r\n`,
  '\u0000'.repeat(1000),
];

it.each(GARBAGE)('survives what is no HTTP (%#)', async (text) => {
  const socket = await openSocket(url);
  socket.end(text);
  const answer = await restOf(socket);
  if (answer !== '') expect(answer).toMatch(/^HTTP\/1\.1 4\d\d /);
});

const VALID: Readonly<Record<string, Record<string, unknown>>> = {
  '/v1/chat/completions': {
    ...QUESTION,
    max_completion_tokens: 1,
    temperature: 1,
    top_p: 0.9,
    n: 1,
    stop: ['x'],
    logit_bias: { 5: 1 },
    logprobs: true,
    top_logprobs: 2,
    seed: 5,
    tools: [TOOLS.add],
    tool_choice: 'none',
    stream: false,
    metadata: { a: 'b' },
  },
  '/v1/completions': { model: MODEL, prompt: [1, 2, 3], max_tokens: 1, logprobs: 1, best_of: 1, echo: false },
  '/v1/responses': {
    model: MODEL,
    input: [{ role: 'user', content: [{ type: 'input_text', text: 'Hello!' }] }],
    max_output_tokens: 1,
    text: { format: { type: 'text' } },
    reasoning: { effort: 'low' },
    include: [],
  },
  '/v1/messages': {
    model: MODEL,
    max_tokens: 1,
    system: 'Be brief.',
    messages: [{ role: 'user', content: [{ type: 'text', text: 'Hello!' }] }],
    stop_sequences: ['x'],
    tools: [{ name: 'a', description: 'b', input_schema: { type: 'object' } }],
    tool_choice: { type: 'none' },
    thinking: { type: 'disabled' },
  },
};

/** Where something may be put: the path of every value in it. */
function pathsOf(value: unknown): string[][] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => [
    [key],
    ...pathsOf(inner).map((rest) => [key, ...rest]),
  ]);
}

function replaced(value: unknown, [key, ...rest]: readonly string[], other: unknown): unknown {
  if (key === undefined) return other;
  const inner = (value as Record<string, unknown>)[key];
  const changed = replaced(inner, rest, other);
  if (Array.isArray(value))
    return value.map((item: unknown, index) => (String(index) === key ? changed : item));
  return { ...(value as object), [key]: changed };
}

const oddValue = fc.oneof(
  fc.jsonValue({ maxDepth: 2 }),
  fc.constantFrom<unknown>(
    -1,
    0,
    1e308,
    -1e308,
    2 ** 31,
    2 ** 53,
    0.5,
    '',
    '\u0000',
    'a'.repeat(5000),
    [],
    {},
  ),
);

const mutated = fc.constantFrom(...Object.keys(VALID)).chain((path) =>
  fc.record({
    path: fc.constant(path),
    at: fc.constantFrom(...pathsOf(VALID[path])),
    other: oddValue,
    unknown: fc.option(fc.string({ maxLength: 8 }), { freq: 5 }),
  }),
);

it('answers or refuses whatever becomes of a question, and never fails', async () => {
  const statuses = new Set<number>();
  await fc.assert(
    fc.asyncProperty(mutated, async ({ path, at, other, unknown }) => {
      const body = replaced(VALID[path], at, other) as Record<string, unknown>;
      if (unknown !== null) body[unknown] = 1;
      const response = await fetch(url + path, {
        method: 'POST',
        body: JSON.stringify(body),
        headers: JSON_TYPE,
      });
      const text = await response.text();
      statuses.add(response.status);
      if (response.status === 200) return;
      expect([400, 404, 422]).toContain(response.status);
      expectProblem(path, JSON.parse(text));
    }),
    { numRuns: MUTATIONS, seed: 20 },
  );
  expect(statuses).toContain(200);
  expect(statuses).toContain(400);
}, 180_000);
