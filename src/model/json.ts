import { SkeinError } from '../protocol/errors.ts';

export type JsonObject = Readonly<Record<string, unknown>>;

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** @throws SkeinError `model-corrupt` naming the file. */
export function decodeUtf8(bytes: Uint8Array, file: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new SkeinError('model-corrupt', `${file} is not UTF-8 text. Download it again.`, {
      data: { file },
      cause,
    });
  }
}

/** @throws SkeinError `model-corrupt` naming the file. */
export function parseJson(text: string, file: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new SkeinError('model-corrupt', `${file} is not JSON: ${reason}. Download it again.`, {
      data: { file },
      cause,
    });
  }
}
