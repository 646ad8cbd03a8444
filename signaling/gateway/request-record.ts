import type { Usage } from '../../src/client/api/answer-events.ts';

/** What becomes of one request, for the log and for figures. Nothing of what it says. Times are of the clock it was begun with. */
export interface RequestRecord {
  readonly id: string;
  readonly endpoint: string;
  readonly startedMs: number;
  /** A model that is served; null for any other name. */
  model: string | null;
  caller: string | null;
  isStream: boolean;
  /** Of HTTP, or what it would be where the answer had begun. */
  status: number;
  /** Why it was refused or failed, in one of few words. */
  error: string | null;
  /** What the mesh said it took; null where the answer did not end. */
  usage: Usage | null;
  /** Of the prompt, once it is known. */
  promptTokens: number;
  /** Of the answer; at least as many tokens. */
  pieces: number;
  firstPieceMs: number | null;
  /** Waited for room. */
  queuedMs: number;
  /** The first place in line; null for who did not wait. */
  queuePosition: number | null;
  /** The codes of what routes were lost to. */
  readonly reroutes: string[];
}

export function newRequestRecord(id: string, endpoint: string, startedMs: number): RequestRecord {
  return {
    id,
    endpoint,
    startedMs,
    model: null,
    caller: null,
    isStream: false,
    status: 0,
    error: null,
    usage: null,
    promptTokens: 0,
    pieces: 0,
    firstPieceMs: null,
    queuedMs: 0,
    queuePosition: null,
    reroutes: [],
  };
}

/** What it took, of prompt and answer: of an answer that was broken off as much as came of it. */
export function tokensOf({ usage, promptTokens, pieces }: RequestRecord): number {
  return usage === null ? promptTokens + pieces : usage.promptTokens + usage.completionTokens;
}

/** One line, in `name=value` pairs. */
export function logLine(record: RequestRecord, endedMs: number): string {
  const { id, endpoint, model, caller, status, error, isStream, usage, firstPieceMs, startedMs } = record;
  const since = (ms: number | null) => (ms === null ? null : Math.round(ms - startedMs));
  const fields: Readonly<Record<string, string | number | boolean | null>> = {
    request: id,
    endpoint,
    model,
    caller,
    status,
    error,
    stream: isStream,
    promptTokens: usage?.promptTokens ?? record.promptTokens,
    cachedTokens: usage?.cachedTokens ?? null,
    completionTokens: usage?.completionTokens ?? null,
    queuedMs: Math.round(record.queuedMs),
    firstMs: since(firstPieceMs),
    totalMs: since(endedMs),
    reroutes: record.reroutes.length,
  };
  const pairs = Object.entries(fields).filter(([, value]) => value !== null);
  return `api ${pairs.map(([name, value]) => `${name}=${value}`).join(' ')}`;
}
