/** Every way Skein refuses or fails. Stable: programs match on these, people read the message. */
export const ERROR_CODES = [
  'bad-argument',
  'bad-frame',
  'bad-message',
  'model-missing',
  'model-corrupt',
  'model-unsupported',
  'no-adapter',
  'device-lost',
  'out-of-memory',
  'no-route',
  'busy',
  'peer-lost',
  'server-lost',
  'timeout',
  'aborted',
  'internal',
] as const;

export type ErrorCode = (typeof ERROR_CODES)[number];

/** The form in which an error crosses a worker boundary or a wire. */
export interface ErrorShape {
  readonly code: ErrorCode;
  readonly message: string;
  readonly data?: Readonly<Record<string, string | number | boolean>>;
}

/** The one error class. The message says what happened, with values, and what to do about it. */
export class SkeinError extends Error {
  readonly code: ErrorCode;
  readonly data: Readonly<Record<string, string | number | boolean>>;

  constructor(
    code: ErrorCode,
    message: string,
    options: { data?: Readonly<Record<string, string | number | boolean>>; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'SkeinError';
    this.code = code;
    this.data = options.data ?? {};
  }

  toShape(): ErrorShape {
    return { code: this.code, message: this.message, data: this.data };
  }

  static fromShape(shape: ErrorShape): SkeinError {
    return new SkeinError(shape.code, shape.message, shape.data ? { data: shape.data } : {});
  }

  /** Wraps whatever was thrown; a SkeinError stays itself. */
  static from(thrown: unknown, code: ErrorCode = 'internal'): SkeinError {
    if (thrown instanceof SkeinError) return thrown;
    if (thrown instanceof Error && thrown.name === 'AbortError') {
      return new SkeinError('aborted', 'The operation was cancelled.', { cause: thrown });
    }
    return new SkeinError(code, thrown instanceof Error ? thrown.message : String(thrown), { cause: thrown });
  }
}
