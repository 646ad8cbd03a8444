import { problemBody } from '../../src/client/api/api-problem.ts';
import type { ApiProblem } from '../../src/client/api/api-problem.ts';
import { messagesProblemBody } from '../../src/client/api/messages-problem.ts';
import type { ServerSentEvent } from './event-stream.ts';

/** How an API tells that something went wrong. */
export interface Dialect {
  /** The body of an answer that is an error. */
  body(problem: ApiProblem): object;
  /** In a stream that has begun, where nothing was said of the answer yet. */
  event(problem: ApiProblem): ServerSentEvent;
  /** Whether an answer that has begun tells of its failure itself. */
  readonly tellsItself: boolean;
}

export const OPENAI: Dialect = {
  body: problemBody,
  event: (problem) => ({ data: JSON.stringify(problemBody(problem)) }),
  tellsItself: false,
};

export const OPENAI_RESPONSES: Dialect = {
  body: problemBody,
  event: ({ code, message, param }) => ({
    event: 'error',
    data: JSON.stringify({ type: 'error', code, message, param, sequence_number: 0 }),
  }),
  tellsItself: true,
};

export const ANTHROPIC: Dialect = {
  body: messagesProblemBody,
  event: (problem) => ({ event: 'error', data: JSON.stringify(messagesProblemBody(problem)) }),
  tellsItself: true,
};
