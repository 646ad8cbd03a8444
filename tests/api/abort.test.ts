import OpenAIClient from 'openai';
import { expect, inject, it } from 'vitest';
import { anthropic, failureOf, MODEL, openai } from './clients.ts';
import { serverMetric, serverRequests, until } from './server-figures.ts';

const url = inject('serverUrl');
/** Far more than the mesh computes while a test looks. */
const LONG_ANSWER = 1900;
const LONG = {
  model: MODEL,
  temperature: 0,
  messages: [{ role: 'user' as const, content: 'Tell me a short story.' }],
  ...{ min_tokens: LONG_ANSWER },
};

const isIdle = async () => {
  const { requests, queued } = await serverRequests(url);
  return requests === 0 && queued === 0;
};
const activeQuestions = () => serverMetric(url, 'skein_api_requests_active');
const answeredTokens = () => serverMetric(url, 'skein_api_tokens_total', 'kind="completion"');

/** The mesh computes nothing any more, and did not compute the answer. */
async function expectGivenUp(tokensBefore: number): Promise<void> {
  await until('no request holds a route', isIdle);
  await until('the gateway asks nothing', async () => (await activeQuestions()) === 0);
  expect((await answeredTokens()) - tokensBefore).toBeLessThan(LONG_ANSWER);
}

it('gives up a stream that is not read any more', async () => {
  await until('no request holds a route', isIdle);
  const before = await answeredTokens();
  const stream = await openai().chat.completions.create({ ...LONG, stream: true });
  let chunks = 0;
  for await (const { choices } of stream) {
    expect(choices[0]?.finish_reason).toBeNull();
    chunks += 1;
    if (chunks < 4) continue;
    expect((await serverRequests(url)).requests).toBe(1);
    break;
  }
  await expectGivenUp(before);
});

it('gives up a whole answer that nobody waits for', async () => {
  const before = await answeredTokens();
  const controller = new AbortController();
  const failure = failureOf(openai().chat.completions.create(LONG, { signal: controller.signal }));
  await until('the answer is under way', async () => (await serverRequests(url)).requests === 1);
  controller.abort();
  expect(await failure).toBeInstanceOf(OpenAIClient.APIUserAbortError);
  await expectGivenUp(before);
});

it('gives up every answer to one question', async () => {
  const before = await answeredTokens();
  const stream = await openai().chat.completions.create({ ...LONG, n: 3, stream: true });
  await until('three routes are held', async () => (await serverRequests(url)).requests === 3);
  stream.controller.abort();
  await expectGivenUp(before);
});

it("gives up what Anthropic's client aborts", async () => {
  const before = await answeredTokens();
  const stream = anthropic().messages.stream({ ...LONG, max_tokens: LONG_ANSWER });
  await new Promise<void>((resolve) => stream.once('text', () => resolve()));
  stream.abort();
  await failureOf(stream.finalMessage());
  await expectGivenUp(before);
});
