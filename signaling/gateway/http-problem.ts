import { apiProblem } from '../../src/client/api/api-problem.ts';
import type { ApiProblem } from '../../src/client/api/api-problem.ts';
import { SkeinError } from '../../src/protocol/errors.ts';

/** A request that is refused for what it is as HTTP, whatever it asks. */
export class HttpProblem extends Error {
  readonly problem: ApiProblem;

  constructor(
    status: number,
    code: string,
    message: string,
    readonly headers: Readonly<Record<string, string>> = {},
  ) {
    super(message);
    this.name = 'HttpProblem';
    this.problem = { status, type: 'invalid_request_error', code, param: null, message };
  }
}

/** Why a request was refused or failed, in one of few words. */
export function reasonOf(thrown: unknown): string {
  return thrown instanceof HttpProblem ? (thrown.problem.code ?? 'refused') : SkeinError.from(thrown).code;
}

/** Whatever was thrown, as the caller of an API is told. */
export function problemOf(thrown: unknown): ApiProblem {
  return thrown instanceof HttpProblem ? thrown.problem : apiProblem(thrown);
}
