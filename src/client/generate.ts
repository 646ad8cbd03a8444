import { SkeinError } from '../protocol/errors.ts';
import { AnswerText } from './answer-text.ts';
import { answerRoom, checkRequest, encodePrompt } from './check-request.ts';
import { Deadline } from './deadline.ts';
import { EventQueue } from './event-queue.ts';
import { DEFAULT_TIME_LIMIT_MS } from './generation.ts';
import type { GenerateDeps, GenerateEvent, GenerateRequest } from './generation.ts';
import { transition } from './request-machine.ts';
import { beginRequest, isOver } from './request-state.ts';
import type { RequestEffect, SampledToken, Step } from './request-state.ts';
import { RequestWork } from './request-work.ts';

export { encodePrompt } from './check-request.ts';
export { DEFAULT_TIME_LIMIT_MS } from './generation.ts';
export type { GenerateDeps, GenerateEvent, GenerateRequest, GenerateResult, Prompt } from './generation.ts';

/**
 * The walk of a prompt: text → ids → a route → tokens from the last stage → text. What becomes of a request is decided by its state
 * machine (`request-machine.ts`), and done by `RequestWork`; this turns tokens into text and tells the caller.
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
  const promptTokens = promptIds.length;
  const maxTokens = answerRoom(request, promptTokens);
  const answer = request.reader ?? new AnswerText(tokenizer, request.stopStrings ?? []);
  const startedAtMs = now();
  const deadline = new Deadline(request.timeLimitMs ?? DEFAULT_TIME_LIMIT_MS, signal, deps);
  const events = new EventQueue(maxTokens);
  const work = new RequestWork({ request, promptIds, maxTokens, deps, deadline, events });
  const stop = () =>
    events.close(
      deadline.hasPassed
        ? { type: 'time-up', error: deadline.error, atMs: now() }
        : { type: 'abort', atMs: now() },
    );
  let firstTokenAtMs = startedAtMs;
  let { state, effects }: Step = beginRequest({
    promptTokens,
    maxTokens,
    stopTokenIds: tokenizer.stopTokenIds,
    isConstrained: request.constraint !== undefined,
  });

  try {
    if (signal.aborted) ({ state, effects } = transition(state, { type: 'abort', atMs: startedAtMs }));
    deadline.signal.addEventListener('abort', stop);
    for (;;) {
      for (const effect of effects) work.perform(effect);
      for (const effect of effects) {
        if (effect.type !== 'take') {
          yield* newsOf(effect);
          continue;
        }
        const { token, isStopToken, atMs } = effect;
        if (state.progress.log.length === 1) firstTokenAtMs = atMs;
        const text = isStopToken ? '' : answer.push(token.tokenId);
        if (answer.stopped) ({ state } = transition(state, { type: 'stop-string', atMs }));
        yield tokenEvent(token, isOver(state) ? text + answer.flush() : text);
      }
      if (isOver(state)) break;
      ({ state, effects } = transition(state, await events.next()));
    }
  } finally {
    deadline.signal.removeEventListener('abort', stop);
    deadline.stop();
    work.end();
  }

  if (state.phase === 'aborted') throw new SkeinError('aborted', 'The generation was stopped.');
  if (state.phase === 'failed') throw state.error;
  const { log, reroutes, droppedTokens } = state.progress;
  const decodeMs = now() - firstTokenAtMs;
  yield {
    type: 'done',
    result: {
      text: answer.text,
      tokenIds: log.tokenIds,
      promptTokens,
      cachedTokens: work.cachedTokens,
      finishReason: answer.stopped ? 'stop' : state.finishReason,
      timeToFirstTokenMs: firstTokenAtMs - startedAtMs,
      reroutes,
      droppedTokens,
      tokensPerSecond: log.length > 1 ? ((log.length - 1) / decodeMs) * 1000 : null,
    },
  };
}

function tokenEvent(token: SampledToken, text: string): GenerateEvent {
  const { tokenId, logProbability, topLogProbabilities } = token;
  return { type: 'token', tokenId, logProbability, topLogProbabilities, text };
}

/** What the caller is told of it. */
function newsOf(effect: RequestEffect): GenerateEvent[] {
  switch (effect.type) {
    case 'tell-queued':
      return [{ type: 'queued', position: effect.position }];
    case 'tell-route':
      return [{ type: 'route', route: effect.route, reroute: effect.reroute }];
    case 'tell-waiting': {
      const { error, epoch, delayMs, reroute } = effect;
      return [{ type: 'waiting', error, epoch, delayMs, reroute }];
    }
    case 'tell-resumed':
      return [{ type: 'resumed', reroutes: effect.reroutes }];
    default:
      return [];
  }
}
