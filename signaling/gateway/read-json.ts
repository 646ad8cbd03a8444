import { jsonDepth } from '../../src/protocol/json-depth.ts';
import { SkeinError } from '../../src/protocol/errors.ts';
import { HttpProblem } from './http-problem.ts';
import { MAX_BODY_DEPTH } from './limits.ts';

export interface ReadJsonOptions {
  readonly maxBytes: number;
  /** Told of every piece before it is kept; may throw. */
  readonly takeBytes: (sizeBytes: number) => void;
}

/**
 * The body of a request, which is not read further than it may be long.
 * @throws HttpProblem 413, 415 or 400 for what is too long, called something else, or no JSON in UTF-8.
 * @throws SkeinError `aborted` where the client hangs up before its end.
 */
export async function readJson(request: Request, { maxBytes, takeBytes }: ReadJsonOptions): Promise<unknown> {
  requireJson(request.headers);
  const announced = Number(request.headers.get('content-length') ?? 0);
  if (announced > maxBytes) throw tooLong(maxBytes);
  const text = decodeUtf8(await readBytes(request, maxBytes, takeBytes));
  if (jsonDepth(text) > MAX_BODY_DEPTH) {
    throw new HttpProblem(400, 'invalid_json', `The body is nested more than ${MAX_BODY_DEPTH} deep.`);
  }
  try {
    return JSON.parse(text);
  } catch {
    throw new HttpProblem(400, 'invalid_json', 'The body is no JSON. Send one JSON object.');
  }
}

/** What pages of other sites may send unasked is called something else. */
function requireJson(headers: Headers): void {
  const [type = ''] = (headers.get('content-type') ?? '').split(';');
  if (!/^application\/([\w.-]+\+)?json$/i.test(type.trim())) {
    throw new HttpProblem(
      415,
      'unsupported_media_type',
      'Send the body with Content-Type: application/json.',
    );
  }
  const encoding = headers.get('content-encoding') ?? 'identity';
  if (encoding.toLowerCase() !== 'identity') {
    throw new HttpProblem(415, 'unsupported_media_type', 'Send the body without Content-Encoding.');
  }
}

async function readBytes(
  { body }: Request,
  maxBytes: number,
  takeBytes: (sizeBytes: number) => void,
): Promise<Uint8Array> {
  if (body === null) return new Uint8Array(0);
  const pieces: Uint8Array[] = [];
  let sizeBytes = 0;
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await nextPiece(reader);
      if (done) break;
      sizeBytes += value.byteLength;
      if (sizeBytes > maxBytes) throw tooLong(maxBytes);
      takeBytes(value.byteLength);
      pieces.push(value);
    }
  } finally {
    // The rest is not wanted; after the end this does nothing.
    reader.cancel().catch(() => undefined);
  }
  return Buffer.concat(pieces, sizeBytes);
}

async function nextPiece(reader: ReadableStreamDefaultReader<Uint8Array>) {
  try {
    return await reader.read();
  } catch (cause) {
    throw new SkeinError('aborted', 'The client hung up in the middle of its question.', { cause });
  }
}

function decodeUtf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new HttpProblem(400, 'invalid_json', 'The body is no text in UTF-8.');
  }
}

function tooLong(maxBytes: number): HttpProblem {
  return new HttpProblem(413, 'request_too_large', `The body is over the limit of ${maxBytes} bytes.`);
}
