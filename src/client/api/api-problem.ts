import { SkeinError } from '../../protocol/errors.ts';
import type { ErrorCode } from '../../protocol/errors.ts';

/** An error as OpenAI's API tells it. */
export interface ApiProblem {
  /** Of HTTP. */
  readonly status: number;
  readonly type: 'invalid_request_error' | 'rate_limit_error' | 'server_error';
  /** For programs. */
  readonly code: string | null;
  /** The parameter at fault. */
  readonly param: string | null;
  readonly message: string;
  /** When asking again makes sense. */
  readonly retryAfterSeconds?: number;
  /** In the line of those who wait; 1 is next. */
  readonly queuePosition?: number;
}

type Kind = Pick<ApiProblem, 'status' | 'type' | 'code'>;

/** What a caller is told who can do nothing about it: the words of an inner error are for the log. */
const INNER_WORDS = 'The answer failed on the mesh. Ask again.';

const QUESTION_AT_FAULT: Kind = { status: 400, type: 'invalid_request_error', code: null };
const INNER: Kind = { status: 500, type: 'server_error', code: 'internal_error' };

/** The ones that are no fault of the server's own making; their words are for the caller. */
const KINDS: Readonly<Partial<Record<ErrorCode, Kind>>> = {
  'bad-argument': QUESTION_AT_FAULT,
  'model-unsupported': { ...QUESTION_AT_FAULT, code: 'model_not_supported' },
  'model-missing': { status: 404, type: 'invalid_request_error', code: 'model_not_found' },
  busy: { status: 429, type: 'rate_limit_error', code: 'rate_limit_exceeded' },
  'no-route': { status: 503, type: 'server_error', code: 'no_route' },
  'server-lost': { status: 503, type: 'server_error', code: 'server_lost' },
  timeout: { status: 504, type: 'server_error', code: 'timeout' },
  aborted: { status: 499, type: 'invalid_request_error', code: 'aborted' },
};

/** Seconds after which a full mesh is worth another try where nobody says. */
const DEFAULT_RETRY_SECONDS = 1;

/** Whatever was thrown, for the caller of an API. */
export function apiProblem(thrown: unknown): ApiProblem {
  const error = SkeinError.from(thrown);
  const kind = KINDS[error.code];
  if (kind === undefined) return { ...INNER, param: null, message: INNER_WORDS };
  const { param, field, apiCode, retryAfterSeconds, queuePosition } = error.data;
  return {
    ...kind,
    code: typeof apiCode === 'string' ? apiCode : kind.code,
    param: error.code === 'model-missing' ? 'model' : textOf(param ?? field),
    message: error.message,
    ...(kind.status === 429 && { retryAfterSeconds: secondsOf(retryAfterSeconds) }),
    ...(typeof queuePosition === 'number' && { queuePosition }),
  };
}

/** The body of an answer that is an error. */
export function problemBody({ message, type, param, code }: ApiProblem) {
  return { error: { message, type, param, code } };
}

function textOf(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}

function secondsOf(value: unknown): number {
  return typeof value === 'number' && value > 0 ? Math.ceil(value) : DEFAULT_RETRY_SECONDS;
}
