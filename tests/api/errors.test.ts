import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import AnthropicClient from '@anthropic-ai/sdk';
import OpenAIClient from 'openai';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { formatApiKeys, hashApiKey, newApiKey } from '../../signaling/gateway/api-keys.ts';
import { ServerProcess } from '../chaos/server-process.ts';
import { anthropic, failureOf, MODEL, openai } from './clients.ts';

function ask(parameters: Readonly<Record<string, unknown>> = {}) {
  return { model: MODEL, messages: [{ role: 'user' as const, content: 'Hello!' }], ...parameters };
}

/** Seconds. */
function retryAfterOf(error: unknown): number {
  if (!(error instanceof OpenAIClient.APIError)) throw new Error('That is no answer of the server.');
  return Number((error.headers as Headers | undefined)?.get('retry-after'));
}

describe('a question at fault', () => {
  const client = openai();

  it.each([
    [{ temperature: 9 }, 'temperature'],
    [{ n: 0 }, 'n'],
    [{ n: 17 }, 'n'],
    [{ top_p: 'much' }, 'top_p'],
    [{ top_logprobs: 21, logprobs: true }, 'top_logprobs'],
    [{ messages: [] }, 'messages'],
    [{ messages: [{ role: 'user', content: 5 }] }, 'messages[0].content'],
    [{ messages: [{ role: 'stranger', content: 'Hello!' }] }, 'messages[0].role'],
    [{ logit_bias: { 50: 101 } }, 'logit_bias.50'],
    [{ stop: ['a', 'b', 'c', 'd', 'e'] }, 'stop'],
    [{ tool_choice: 'required' }, 'tool_choice'],
    [{ max_completion_tokens: 0 }, 'max_completion_tokens'],
    [{ audio: { voice: 'alloy', format: 'wav' } }, 'audio'],
    [{ web_search_options: {} }, 'web_search_options'],
    [{ prediction: { type: 'content', content: 'Hello' } }, 'prediction'],
    [{ no_such_parameter: 1 }, 'no_such_parameter'],
  ])('%j is a BadRequestError that names the parameter', async (parameters, param) => {
    const error = await failureOf(client.chat.completions.create(ask(parameters)));
    expect(error).toBeInstanceOf(OpenAIClient.BadRequestError);
    expect(error).toMatchObject({ status: 400, type: 'invalid_request_error', param });
  });

  it('that is longer than what the mesh holds says so', async () => {
    const content = 'word '.repeat(5000);
    const error = await failureOf(
      client.chat.completions.create(ask({ messages: [{ role: 'user', content }] })),
    );
    expect(error).toBeInstanceOf(OpenAIClient.BadRequestError);
    expect(error).toMatchObject({ code: 'context_length_exceeded', param: 'messages' });
  });

  it('about a model that is not there is a NotFoundError', async () => {
    const expected = { status: 404, code: 'model_not_found' };
    for (const failing of [
      client.chat.completions.create(ask({ model: 'none-such' })),
      client.models.retrieve('none-such'),
    ]) {
      const error = await failureOf(failing);
      expect(error).toBeInstanceOf(OpenAIClient.NotFoundError);
      expect(error).toMatchObject(expected);
    }
  });

  it('for embeddings of a model that gives none is refused', async () => {
    const error = await failureOf(client.embeddings.create({ model: MODEL, input: 'Hello!' }));
    expect(error).toBeInstanceOf(OpenAIClient.BadRequestError);
    expect(error).toMatchObject({ status: 400, param: 'model' });
  });

  it('in a stream is answered with its status', async () => {
    const error = await failureOf(
      client.chat.completions.create({ ...ask({ temperature: -1 }), stream: true }),
    );
    expect(error).toBeInstanceOf(OpenAIClient.BadRequestError);
    expect(error).toMatchObject({ param: 'temperature' });
  });
});

describe('a server with keys and without peers', () => {
  const [free, once] = [newApiKey(), newApiKey()];
  let folder = '';
  let server: ServerProcess | null = null;
  const url = () => {
    if (server === null) throw new Error('The server did not start.');
    return server.url;
  };

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'skein-keys-'));
    const file = join(folder, 'keys.json');
    const keys = [
      { name: 'free', sha256: hashApiKey(free) },
      { name: 'once', sha256: hashApiKey(once), requestsPerMinute: 1 },
    ];
    await writeFile(file, formatApiKeys(keys), { mode: 0o600 });
    server = await ServerProcess.open({
      stateFolder: folder,
      vulkanDriver: null,
      stages: 3,
      onWords: (line) => console.error(line),
      arguments: ['--api-keys', file, '--log-level', 'warn'],
    });
  });
  afterAll(async () => {
    await server?.kill();
    await rm(folder, { recursive: true, force: true });
  });

  it.each(['none', 'sk-skein-wrong', '\u{e9}'.repeat(3)])('knows no key %j', async (key) => {
    const error = await failureOf(openai(url(), key).chat.completions.create(ask()));
    expect(error).toBeInstanceOf(OpenAIClient.AuthenticationError);
    expect(error).toMatchObject({ status: 401, code: 'invalid_api_key' });
    const other = await failureOf(anthropic(url(), key).messages.create({ ...ask(), max_tokens: 5 }));
    expect(other).toBeInstanceOf(AnthropicClient.AuthenticationError);
    expect(other).toMatchObject({ status: 401, error: { error: { type: 'authentication_error' } } });
  });

  it('lets those in who have one, of either client', async () => {
    const listed = [];
    for await (const { id } of openai(url(), free).models.list()) listed.push(id);
    for await (const { id } of anthropic(url(), free).models.list()) listed.push(id);
    expect(listed).toEqual([MODEL, MODEL]);
  });

  it('is a 503 where no route can exist', async () => {
    for (const stream of [false, true]) {
      const error = await failureOf(openai(url(), free).chat.completions.create({ ...ask(), stream }));
      expect(error).toBeInstanceOf(OpenAIClient.InternalServerError);
      expect(error).toMatchObject({ status: 503, code: 'no_route' });
      expect(retryAfterOf(error)).toBeGreaterThan(0);
    }
    const other = await failureOf(anthropic(url(), free).messages.create({ ...ask(), max_tokens: 5 }));
    expect(other).toBeInstanceOf(AnthropicClient.InternalServerError);
    expect(other).toMatchObject({ status: 503, error: { error: { type: 'overloaded_error' } } });
  });

  it('is a RateLimitError that says when to ask again', async () => {
    const client = openai(url(), once);
    expect(await failureOf(client.chat.completions.create(ask()))).toMatchObject({ status: 503 });
    const error = await failureOf(client.chat.completions.create(ask()));
    expect(error).toBeInstanceOf(OpenAIClient.RateLimitError);
    expect(error).toMatchObject({ status: 429, code: 'rate_limit_exceeded' });
    const seconds = retryAfterOf(error);
    expect(seconds).toBeGreaterThan(0);
    expect(seconds).toBeLessThanOrEqual(60);
    const other = await failureOf(anthropic(url(), once).messages.create({ ...ask(), max_tokens: 5 }));
    expect(other).toBeInstanceOf(AnthropicClient.RateLimitError);
  });
});
