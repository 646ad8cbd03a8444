import { SkeinError } from '../../src/protocol/errors.ts';
import type { Log } from '../log.ts';
import type { Admission, AdmittedQuestion } from './admission.ts';
import type { Caller } from './caller.ts';
import type { Dialect } from './dialect.ts';
import { HttpProblem, problemOf, reasonOf } from './http-problem.ts';
import { NO_ROUTE_RETRY_SECONDS } from './limits.ts';
import type { GatewayMetrics } from './metrics.ts';
import { logLine, newRequestRecord, tokensOf } from './request-record.ts';
import type { RequestRecord } from './request-record.ts';

export interface ExchangeDeps {
  readonly metrics: GatewayMetrics;
  readonly log: Log;
  readonly now: () => number;
}

/** One request, from its arrival until everything is told: what it takes of the gateway is given back then. */
export class Exchange {
  readonly record: RequestRecord;
  readonly #deps: ExchangeDeps;
  readonly #dialect: Dialect;
  #caller: Caller | null = null;
  #admitted: AdmittedQuestion | null = null;
  #isOver = false;

  /** @param endpoint for the log and for figures. */
  constructor(id: string, endpoint: string, dialect: Dialect, deps: ExchangeDeps) {
    this.#deps = deps;
    this.#dialect = dialect;
    this.record = newRequestRecord(id, endpoint, deps.now());
  }

  /** @throws SkeinError `busy` where it is one too many, for the caller or for the gateway. */
  enter(caller: Caller, admission: Admission): AdmittedQuestion {
    const admitted = admission.enter();
    this.#admitted = admitted;
    caller.enter(this.#deps.now());
    this.#caller = caller;
    return admitted;
  }

  /** What goes with every answer. */
  headers(): Headers {
    const { id, queuePosition } = this.record;
    // OpenAI's clients look for the one, Anthropic's for the other.
    const headers = new Headers({ 'x-request-id': id, 'request-id': id, 'cache-control': 'no-store' });
    if (queuePosition !== null) headers.set('x-queue-position', String(queuePosition));
    return headers;
  }

  /** Idempotent. */
  end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const { metrics, log, now } = this.#deps;
    this.#admitted?.leave();
    this.#caller?.leave(tokensOf(this.record), now());
    metrics.ended(this.record);
    log.info(logLine(this.record, now()));
  }

  /** Ends it with an error, in the words of its API. */
  fail(thrown: unknown): Response {
    const problem = problemOf(thrown);
    this.record.status = problem.status;
    this.record.error = reasonOf(thrown);
    if (problem.status === 500) this.#logFault(SkeinError.from(thrown));
    this.end();
    const headers = this.headers();
    const retryAfterSeconds =
      problem.retryAfterSeconds ?? (problem.status === 503 ? NO_ROUTE_RETRY_SECONDS : null);
    if (retryAfterSeconds !== null) headers.set('retry-after', String(retryAfterSeconds));
    if (problem.queuePosition !== undefined) headers.set('x-queue-position', String(problem.queuePosition));
    if (thrown instanceof HttpProblem) {
      for (const [name, value] of Object.entries(thrown.headers)) headers.set(name, value);
    }
    return Response.json(this.#dialect.body(problem), { status: problem.status, headers });
  }

  #logFault({ message, cause, stack }: SkeinError): void {
    const where = cause instanceof Error ? cause.stack : stack;
    this.#deps.log.error(`api request=${this.record.id} failed: ${where ?? message}`);
  }
}
