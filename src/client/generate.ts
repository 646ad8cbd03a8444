import * as v from 'valibot';
import { BlockHashChain } from '../protocol/block-hashes.ts';
import { SkeinError } from '../protocol/errors.ts';
import { newRequestId } from '../protocol/ids.ts';
import type { ModelId, PeerId, RequestId } from '../protocol/ids.ts';
import { MAX_TIME_LIMIT_MS } from '../protocol/limits.ts';
import type { Route } from '../protocol/route.ts';
import { samplingSchema } from '../protocol/sampling.ts';
import type { SamplingParams, TokenLogProbability } from '../protocol/sampling.ts';
import type { FrameTransport } from '../protocol/transport.ts';
import { startRoute } from '../mesh/route-session.ts';
import type { ChatMessage, Tokenizer } from '../tokenizer/tokenizer.ts';
import { AnswerText } from './answer-text.ts';
import { Deadline } from './deadline.ts';
import { afterToken, FIRST_ATTEMPT, nextAttempt } from './retry.ts';
import type { RetryState } from './retry.ts';
import { samplingAfter } from './sampling-after.ts';
import { TokenMeter } from './token-meter.ts';
import { whileWaiting } from './while-waiting.ts';

export type Prompt =
  | { readonly kind: 'chat'; readonly messages: readonly ChatMessage[] }
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'ids'; readonly ids: readonly number[] };

export interface GenerateRequest {
  readonly model: ModelId;
  readonly prompt: Prompt;
  /** Tokens of the answer, at most. */
  readonly maxTokens: number;
  /** Tokens of prompt and answer together that stages hold, where known: the answer is cut to what is left. */
  readonly contextTokens?: number;
  readonly sampling: SamplingParams;
  /** The answer ends before the first of these. */
  readonly stopStrings?: readonly string[];
  /** For the whole answer, waiting included. Default: DEFAULT_TIME_LIMIT_MS. */
  readonly timeLimitMs?: number;
}

/** Long enough for a long answer on a slow mesh; short enough that a forgotten one frees its caches within the hour. */
export const DEFAULT_TIME_LIMIT_MS = 30 * 60 * 1000;

/** What a generation needs of the world. No GPU and no WebRTC: those are behind the transport. */
export interface GenerateDeps {
  readonly transport: FrameTransport;
  readonly tokenizer: Tokenizer;
  /**
   * Asks the scheduler, and waits while the mesh is full.
   * @param onQueued hears the request's place in the queue and every change of it; 1 is next.
   * @throws SkeinError `no-route` or `busy`.
   */
  requestRoute(
    query: {
      model: ModelId;
      requestId: RequestId;
      epoch: number;
      exclude: readonly PeerId[];
      /** Of prompt and answer, at most. */
      tokens: number;
      /** What is left of the answer's time. */
      timeLimitMs: number;
    },
    signal: AbortSignal,
    onQueued: (position: number) => void,
  ): Promise<Route>;
  /**
   * Tells the scheduler that the route, or the place in the queue, is free again.
   * @param outcome of the last route: tokens after the first, and the time they took; absent when there were none.
   */
  endRoute(requestId: RequestId, outcome?: { readonly tokens: number; readonly seconds: number }): void;
  /** Tells the scheduler that a hop of the request's route failed it. */
  suspect?(requestId: RequestId, peer: PeerId, error: SkeinError): void;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
  /** Resolves after the time, rejects on abort. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

export type GenerateEvent =
  /** The mesh is full, and this is the answer's place in the queue; 1 is next. Again whenever it changes. */
  | { readonly type: 'queued'; readonly position: number }
  /** The tabs that compute the answer from here on; again after every re-route. */
  | { readonly type: 'route'; readonly route: Route }
  /** Nothing can happen now; tried again after `delayMs`. */
  | { readonly type: 'waiting'; readonly error: SkeinError; readonly delayMs: number }
  /** `text` is what may be shown: empty while a character or a stop string is incomplete. */
  | {
      readonly type: 'token';
      readonly tokenId: number;
      /** Of the model's unmodified distribution, as those of the most probable tokens. */
      readonly logProbability: number;
      /** As many as were asked for, but for tokens of no probability; most probable first. */
      readonly topLogProbabilities: readonly TokenLogProbability[];
      readonly text: string;
    }
  | { readonly type: 'done'; readonly result: GenerateResult };

export interface GenerateResult {
  readonly text: string;
  /** Every sampled token, a final stop token included. */
  readonly tokenIds: readonly number[];
  readonly promptTokens: number;
  /** Tokens that the last route had in its caches, so that they were not computed again; of the answer too, after a re-route. */
  readonly cachedTokens: number;
  /** `stop`: a stop token or a stop string; `length`: `maxTokens` were reached. */
  readonly finishReason: 'stop' | 'length';
  readonly timeToFirstTokenMs: number;
  /** Decode speed: tokens after the first, over the time they took. Null for an answer of one token. */
  readonly tokensPerSecond: number | null;
}

/**
 * The walk of a prompt: text → ids → a route → tokens from the last stage → text.
 * The requester holds every token so far, so when a hop dies it takes another route and goes on where it was.
 * @throws SkeinError when it cannot: `no-route`, `bad-argument`, `timeout`, `aborted`, …; never hangs without a sign for long.
 */
export async function* generate(
  request: GenerateRequest,
  deps: GenerateDeps,
  signal: AbortSignal = new AbortController().signal,
): AsyncGenerator<GenerateEvent, void, void> {
  const { tokenizer, now } = deps;
  checkRequest(request);
  const promptIds = encodePrompt(request.prompt, tokenizer);
  const maxTokens = answerRoom(request, promptIds.length);
  const stopTokenIds = tokenizer.stopTokenIds;
  const answer = new AnswerText(tokenizer, request.stopStrings ?? []);
  const tokenIds: number[] = [];
  const blockHashes = new BlockHashChain(request.model);
  blockHashes.append(promptIds);
  let cachedTokens = 0;
  const requestId = newRequestId();
  const startedAt = now();
  let firstTokenAt = startedAt;
  let finishReason: 'stop' | 'length' | null = null;
  const deadline = new Deadline(request.timeLimitMs ?? DEFAULT_TIME_LIMIT_MS, signal, deps);
  let meter = new TokenMeter();
  let retry: RetryState = FIRST_ATTEMPT;

  try {
    while (finishReason === null) {
      let route: Route | null = null;
      try {
        const { epoch, exclude } = retry;
        const tokensAtMost = promptIds.length + maxTokens;
        const { remainingMs: timeLimitMs } = deadline;
        const query = { model: request.model, requestId, epoch, exclude, tokens: tokensAtMost, timeLimitMs };
        route = yield* whileWaiting<GenerateEvent, Route>(
          (report, waitSignal) =>
            deps.requestRoute(query, waitSignal, (position) => report({ type: 'queued', position })),
          deadline.signal,
        );
        meter = new TokenMeter();
        yield { type: 'route', route };
        const soFar = [...promptIds, ...tokenIds];
        const tokens = startRoute({
          transport: deps.transport,
          request: {
            route,
            requester: deps.transport.self,
            promptTokens: soFar.length,
            timeLimitMs: deadline.remainingMs,
            maxTokens: maxTokens - tokenIds.length,
            stopTokenIds: [...stopTokenIds],
            ...samplingAfter(request.sampling, promptIds, tokenIds),
          },
          promptTokenIds: Uint32Array.from(soFar),
          blockHashes,
          onOpened: (tokens) => (cachedTokens = tokens),
          signal: deadline.signal,
        });
        for await (const { tokenId, logProbability, topLogProbabilities } of tokens) {
          const tokenAt = now();
          if (tokenIds.length === 0) firstTokenAt = tokenAt;
          meter.count(tokenAt);
          tokenIds.push(tokenId);
          retry = afterToken(retry);
          const isStopToken = stopTokenIds.includes(tokenId);
          const text = isStopToken ? '' : answer.push(tokenId);
          if (isStopToken || answer.stopped) finishReason = 'stop';
          else if (tokenIds.length === maxTokens) finishReason = 'length';
          yield {
            type: 'token',
            tokenId,
            logProbability,
            topLogProbabilities,
            text: finishReason ? text + answer.flush() : text,
          };
          if (finishReason !== null) break;
        }
      } catch (thrown) {
        if (deadline.hasPassed) throw deadline.error;
        const error = SkeinError.from(thrown);
        const attempt = nextAttempt(retry, error, route);
        if (attempt === null) throw error;
        retry = attempt.state;
        yield { type: 'waiting', error, delayMs: attempt.delayMs };
        await deps.sleep(attempt.delayMs, deadline.signal).catch((cause: unknown) => {
          throw deadline.hasPassed ? deadline.error : cause;
        });
      }
    }
  } finally {
    deadline.stop();
    deps.endRoute(requestId, meter.outcome ?? undefined);
  }

  const decodeMs = now() - firstTokenAt;
  yield {
    type: 'done',
    result: {
      text: answer.text,
      tokenIds,
      promptTokens: promptIds.length,
      cachedTokens,
      finishReason,
      timeToFirstTokenMs: firstTokenAt - startedAt,
      tokensPerSecond: tokenIds.length > 1 ? ((tokenIds.length - 1) / decodeMs) * 1000 : null,
    },
  };
}

function checkRequest({ sampling, maxTokens, timeLimitMs = DEFAULT_TIME_LIMIT_MS }: GenerateRequest): void {
  const result = v.safeParse(samplingSchema, sampling);
  if (!result.success) {
    const [issue] = result.issues;
    const field = v.getDotPath(issue) ?? 'sampling';
    throw new SkeinError('bad-argument', `${field}: ${issue.message}.`, { data: { field } });
  }
  if (!Number.isInteger(maxTokens) || maxTokens < 1) {
    throw new SkeinError('bad-argument', `maxTokens is ${maxTokens}; it must be a whole number from 1.`, {
      data: { field: 'maxTokens' },
    });
  }
  if (sampling.minTokens > maxTokens) {
    throw new SkeinError(
      'bad-argument',
      `minTokens is ${sampling.minTokens} and maxTokens ${maxTokens}. Ask for more tokens, or insist on fewer.`,
      { data: { field: 'minTokens' } },
    );
  }
  if (!Number.isInteger(timeLimitMs) || timeLimitMs < 1 || timeLimitMs > MAX_TIME_LIMIT_MS) {
    throw new SkeinError(
      'bad-argument',
      `timeLimitMs is ${timeLimitMs}; it must be a whole number from 1 to ${MAX_TIME_LIMIT_MS}.`,
      { data: { field: 'timeLimitMs' } },
    );
  }
}

/** Tokens the answer may have. */
function answerRoom({ maxTokens, contextTokens = Infinity }: GenerateRequest, promptTokens: number): number {
  if (promptTokens === 0) throw new SkeinError('bad-argument', 'The prompt is empty. Write something.');
  const room = Math.min(maxTokens, contextTokens - promptTokens);
  if (room >= 1) return room;
  throw new SkeinError(
    'bad-argument',
    `The conversation has ${promptTokens} tokens, and this mesh holds ${contextTokens} with the answer. Start over, or shorten it.`,
    { data: { promptTokens, contextTokens } },
  );
}

/** The ids a prompt becomes, through the chat template for a conversation. */
export function encodePrompt(prompt: Prompt, tokenizer: Tokenizer): readonly number[] {
  switch (prompt.kind) {
    case 'chat':
      return tokenizer.encode(tokenizer.renderChat(prompt.messages));
    case 'text':
      return tokenizer.encode(prompt.text);
    case 'ids':
      return prompt.ids;
  }
}
