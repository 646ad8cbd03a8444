import { apiProblem } from './api-problem.ts';
import type { ApiProblem } from './api-problem.ts';

/** An error as Anthropic's API tells it. */
export interface MessagesProblem extends ApiProblem {
  readonly body: MessagesProblemBody;
}

export interface MessagesProblemBody {
  readonly type: 'error';
  readonly error: { readonly type: string; readonly message: string };
}

const TYPES: ReadonlyMap<number, string> = new Map([
  [401, 'authentication_error'],
  [403, 'permission_error'],
  [404, 'not_found_error'],
  [413, 'request_too_large'],
  [429, 'rate_limit_error'],
  [503, 'overloaded_error'],
  [504, 'timeout_error'],
]);

/** Whatever was thrown, for the caller of `/v1/messages`. */
export function messagesProblem(thrown: unknown): MessagesProblem {
  const problem = apiProblem(thrown);
  return { ...problem, body: messagesProblemBody(problem) };
}

export function messagesProblemBody({
  status,
  message,
}: Pick<ApiProblem, 'status' | 'message'>): MessagesProblemBody {
  const type = TYPES.get(status) ?? (status < 500 ? 'invalid_request_error' : 'api_error');
  return { type: 'error', error: { type, message } };
}
