import type { IncomingMessage } from 'node:http';
import { Registry } from 'prom-client';
import type { AnswerEvent, Usage } from '../../../../src/client/api/answer-events.ts';
import type { ApiModel, ApiModels } from '../../../../src/client/api/api-models.ts';
import { SkeinError } from '../../../../src/protocol/errors.ts';
import type { ModelId } from '../../../../src/protocol/ids.ts';
import { createGateway } from '../../../../signaling/gateway/gateway.ts';
import type { GatewayDeps } from '../../../../signaling/gateway/gateway.ts';
import type { Answer } from '../../../../signaling/gateway/serve-question.ts';
import { createLog } from '../../../../signaling/log.ts';
import { card } from '../scheduler/instances.ts';

export const MODEL_NAME = 'model' as ModelId;
export const QUESTION = { model: MODEL_NAME, messages: [{ role: 'user', content: 'Hello' }] };
export const USAGE: Usage = { promptTokens: 5, cachedTokens: 2, completionTokens: 3, reasoningTokens: 0 };

/** Models by name, none of which can compute: a test says what they answer. */
export function fakeModels(...names: readonly string[]): ApiModels {
  const cards = names.map((id) => card({ id: id as ModelId }));
  return {
    list: () => cards,
    open: async (id) => {
      await Promise.resolve();
      const found = cards.find((offered) => offered.id === id);
      if (found === undefined) throw new SkeinError('model-missing', `There is no model ${id}.`);
      return { card: found, tokenizer: {}, deps: {} } as unknown as ApiModel;
    },
  };
}

/** A whole answer of these pieces. */
export function* pieces(...texts: readonly string[]): Generator<AnswerEvent, void, void> {
  yield { type: 'prompt', tokens: USAGE.promptTokens };
  for (const text of texts) yield { type: 'text', choice: 0, text, tokens: [] };
  yield endOf(texts.join(''));
  yield { type: 'done', usage: USAGE };
}

export function endOf(text: string, choice = 0): AnswerEvent {
  return {
    type: 'end',
    choice,
    end: 'stop',
    stopString: null,
    result: {
      text,
      tokenIds: [1, 2, 3],
      promptTokens: USAGE.promptTokens,
      cachedTokens: USAGE.cachedTokens,
      finishReason: 'stop',
      timeToFirstTokenMs: 1,
      reroutes: [],
      droppedTokens: 0,
      tokensPerSecond: null,
    },
  };
}

/** Answers `Hello!`, in two pieces, as often as it is asked to. */
export const helloAnswer: Answer = async function* (queries) {
  await Promise.resolve();
  const count = queries.reduce((sum, { choices }) => sum + choices, 0);
  yield { type: 'prompt', tokens: USAGE.promptTokens };
  for (let choice = 0; choice < count; choice += 1) {
    for (const text of ['Hel', 'lo!']) yield { type: 'text', choice, text, tokens: [] };
    yield endOf('Hello!', choice);
  }
  yield { type: 'done', usage: USAGE };
};

export const queued = (position: number): AnswerEvent => ({
  type: 'progress',
  choice: 0,
  progress: { type: 'queued', position },
});

export const waiting = (error: SkeinError, delayMs = 1000): AnswerEvent => ({
  type: 'progress',
  choice: 0,
  progress: { type: 'waiting', error, epoch: 1, delayMs, reroute: null },
});

/** A gateway without a socket, and what it wrote. */
export class GatewayRig {
  readonly logLines: string[] = [];
  readonly registry = new Registry();
  readonly app;
  /** Where requests come from. */
  address = '127.0.0.1';

  constructor(changes: Partial<GatewayDeps> = {}) {
    this.app = createGateway({
      models: fakeModels(MODEL_NAME),
      mesh: () => ({ peers: 3, contributors: 2, requests: 1, queued: 4, stages: [] }),
      log: createLog('info', (line) => this.logLines.push(line)),
      now: () => performance.now(),
      trustProxy: false,
      registry: this.registry,
      answer: helloAnswer,
      ...changes,
    });
  }

  request(path: string, init: RequestInit = {}, headers: Record<string, string> = {}): Promise<Response> {
    const socket = { remoteAddress: this.address, setTimeout: () => socket };
    const incoming = { socket, headers } as unknown as IncomingMessage;
    return Promise.resolve(this.app.request(path, { ...init, headers: { ...headers } }, { incoming }));
  }

  get(path: string, headers: Record<string, string> = {}): Promise<Response> {
    return this.request(path, {}, headers);
  }

  post(
    path: string,
    body: unknown,
    headers: Record<string, string> = {},
    signal?: AbortSignal,
  ): Promise<Response> {
    const text = typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body);
    const init = { method: 'POST', body: text as BodyInit, ...(signal && { signal }) };
    return this.request(path, init, { 'content-type': 'application/json', ...headers });
  }

  chat(changes: object = {}, headers: Record<string, string> = {}, signal?: AbortSignal): Promise<Response> {
    return this.post('/v1/chat/completions', { ...QUESTION, ...changes }, headers, signal);
  }

  /** The value of a series; 0 where there is none. */
  async metric(series: string): Promise<number> {
    const lines = (await this.registry.metrics()).split('\n');
    const line = lines.find((candidate) => candidate.startsWith(`${series} `));
    return Number(line?.slice(series.length + 1) ?? 0);
  }
}
