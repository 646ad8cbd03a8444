import type { AnswerEvent } from '../../src/client/api/answer-events.ts';
import type { ApiModel, ApiModels } from '../../src/client/api/api-models.ts';
import type { ChatQuery } from '../../src/client/api/chat-query.ts';
import type { Dialect } from './dialect.ts';
import type { Asked } from './endpoint.ts';
import { CommentBox, eventStream } from './event-stream.ts';
import type { ServerSentEvent } from './event-stream.ts';
import { problemOf, reasonOf } from './http-problem.ts';
import { STREAM_PATIENCE_MS } from './limits.ts';
import type { RequestRecord } from './request-record.ts';
import { watchAnswer } from './watch-answer.ts';

/** Asks a model several questions at a time, each for as many answers as it wants. */
export type Answer = (
  queries: readonly ChatQuery[],
  model: ApiModel,
  signal: AbortSignal,
) => AsyncGenerator<AnswerEvent, void, void>;

export interface QuestionContext {
  readonly models: ApiModels;
  readonly answer: Answer;
  readonly dialect: Dialect;
  readonly record: RequestRecord;
  /** Of the client's connection. */
  readonly signal: AbortSignal;
  readonly now: () => number;
  /** How long a question waits for a model that is not whole. */
  readonly routeWaitMs: number;
  readonly onGap: (model: string, seconds: number) => void;
  /** What is sent with the answer, as far as it is known when it begins. */
  readonly headers: () => Headers;
  /** Everything is told, or the client is gone. Called once, and not where this throws. */
  readonly onEnd: () => void;
}

/**
 * Asks, and tells the answer whole or as it comes. The question is given up wherever its client is gone.
 * @throws whatever goes wrong before the first byte.
 */
export async function serveQuestion(asked: Asked, context: QuestionContext): Promise<Response> {
  const { models, record, now, routeWaitMs, headers, onEnd, onGap } = context;
  const stop = new AbortController();
  const signal = AbortSignal.any([context.signal, stop.signal]);
  record.isStream = asked.isStream;
  const model = await models.open(asked.model, signal);
  const { id } = model.card;
  record.model = id;
  const comments = new CommentBox();
  let isQueued: () => void = () => undefined;
  const queued = new Promise<void>((resolve) => (isQueued = resolve));
  const events = watchAnswer(context.answer(asked.queries, model, signal), {
    record,
    now,
    routeWaitMs,
    onGap: (seconds) => onGap(id, seconds),
    onQueued: (position) => {
      comments.put(`queued position ${position}`);
      isQueued();
    },
  });
  if (!asked.isStream) {
    const whole = await asked.whole(events, model);
    record.status = 200;
    onEnd();
    return Response.json(whole, { headers: headers() });
  }

  const chunks = asked.stream(events, model);
  const first = chunks.next();
  await begun(first, queued);
  record.status = 200;
  let isTold = false;
  const told = tellChunks(first, chunks, context, () => (isTold = true));
  const body = eventStream({
    events: told,
    comments,
    onEnd: () => {
      if (!isTold) {
        record.status = 499;
        record.error = 'aborted';
      }
      stop.abort();
      // What is not read any more has to end too: its routes are given back.
      void chunks.return().catch(() => undefined);
      onEnd();
    },
  });
  const streamHeaders = headers();
  streamHeaders.set('content-type', 'text/event-stream; charset=utf-8');
  // A proxy that collects a stream before it passes it on makes it none.
  streamHeaders.set('x-accel-buffering', 'no');
  return new Response(body, { headers: streamHeaders });
}

/** What goes wrong after the first byte is the last event. */
async function* tellChunks(
  first: Promise<IteratorResult<ServerSentEvent, void>>,
  chunks: AsyncGenerator<ServerSentEvent, void, void>,
  { dialect, record }: QuestionContext,
  onTold: () => void,
): AsyncGenerator<ServerSentEvent, void, void> {
  let hasSaid = false;
  try {
    for (let next = await first; next.done !== true; next = await chunks.next()) {
      hasSaid = true;
      yield next.value;
    }
  } catch (thrown) {
    const problem = problemOf(thrown);
    record.status = problem.status;
    record.error = reasonOf(thrown);
    if (!hasSaid || !dialect.tellsItself) yield dialect.event(problem);
  }
  onTold();
}

/** Resolves when the client should hear that its stream has begun. @throws what goes wrong before that. */
async function begun(first: Promise<unknown>, queued: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const patience = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, STREAM_PATIENCE_MS);
  });
  try {
    await Promise.race([first, queued, patience]);
  } finally {
    clearTimeout(timer);
  }
  // Who stopped listening is not told what goes wrong from here on.
  first.catch(() => undefined);
}
