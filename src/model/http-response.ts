import type { Attempt } from './http-attempts.ts';

export const PARTIAL_CONTENT = 206;
export const RANGE_NOT_SATISFIABLE = 416;
const ABSENT = [404, 410];
const DENIED = [401, 403];
/** Statuses that mean "not now": timeouts, throttling and whatever is wrong with the server. */
const PASSING = [408, 425, 429];

/** What a status says of the file, before its body is looked at. */
export type Verdict = 'here' | 'absent' | 'denied' | 'not-now' | 'refused';

export function verdictOf({ ok, status }: Response): Verdict {
  if (ok || status === RANGE_NOT_SATISFIABLE) return 'here';
  if (ABSENT.includes(status)) return 'absent';
  if (DENIED.includes(status)) return 'denied';
  return PASSING.includes(status) || status >= 500 ? 'not-now' : 'refused';
}

/** The size of the file, out of `Content-Range: bytes 0-0/1234`. Undefined where the server does not show the header to this page. */
export function totalBytes(response: Response): number | undefined {
  return wholeNumber(/\/(\d+)$/.exec(response.headers.get('content-range') ?? '')?.[1]);
}

/** Changes when the file does; null where the server does not say, or does not show it to this page. */
export function versionOf(response: Response): string | null {
  return response.headers.get('etag') ?? response.headers.get('last-modified');
}

/** Whether the body begins at byte `start`; a header that this page may not see is taken on trust. */
export function beginsAt(response: Response, start: number): boolean {
  const contentRange = response.headers.get('content-range');
  return contentRange === null || contentRange.startsWith(`bytes ${start}-`);
}

/** Bytes of the body as it will be read: a compressed body has another length than its header says. */
export function bodyBytes(response: Response): number | undefined {
  if (response.headers.has('content-encoding')) return undefined;
  return wholeNumber(response.headers.get('content-length') ?? undefined);
}

/** The chunks of a body as they come; whoever stops early hangs up. */
export async function* bodyChunks(
  response: Response,
  attempt: Attempt,
): AsyncGenerator<Uint8Array<ArrayBuffer>, void> {
  const reader = response.body?.getReader();
  if (!reader) return;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      attempt.alive();
      yield value;
    }
  } finally {
    hangUp(reader);
  }
}

/** More of a body than this is not worth reading only to keep its connection. */
const MAX_IDLE_READ_BYTES = 4096;

/** Ends a response whose body nobody wants and that ought to be small: read to its end, its connection can be used again. */
export async function finishBody(response: Response, attempt: Attempt): Promise<void> {
  let sizeBytes = 0;
  for await (const chunk of bodyChunks(response, attempt)) {
    sizeBytes += chunk.length;
    if (sizeBytes > MAX_IDLE_READ_BYTES) return;
  }
}

/** Ends a response whose body nobody wants. */
export function discardBody(response: Response): void {
  if (response.body) hangUp(response.body);
}

/** A body that failed cannot be cancelled, and need not be. */
function hangUp(body: { cancel(): Promise<void> }): void {
  body.cancel().catch(() => undefined);
}

function wholeNumber(digits: string | undefined): number | undefined {
  const value = Number(digits);
  return Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}
