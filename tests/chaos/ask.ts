import { generate } from '../../src/client/generate.ts';
import { generateDeps } from '../../src/client/generate-deps.ts';
import type { RequesterSession } from '../../src/client/generate-deps.ts';
import { SkeinError } from '../../src/protocol/errors.ts';
import type { ModelId } from '../../src/protocol/ids.ts';
import type { Route } from '../../src/protocol/route.ts';
import { sampling } from '../../src/protocol/sampling.ts';
import type { Tokenizer } from '../../src/tokenizer/tokenizer.ts';
import { asPrompt, GOLDEN_MAX_TOKENS } from '../golden/golden-file.ts';
import type { Question } from './questions.ts';

/** An answer that shows no token and no end for so long hangs. */
const HUNG_MS = 60_000;
/** More than an answer can take that never hangs. */
const TIME_LIMIT_MS = 600_000;

/** An interruption that an answer went on after. */
export interface Interruption {
  /** When the requester learned of it. */
  readonly atMs: number;
  readonly code: string;
  /** Whom the error names. */
  readonly peer: string | null;
  readonly message: string;
  /** Tokens of the answer so far. */
  readonly tokensBefore: number;
  /** When the next token came; null when none did. */
  resumedAtMs: number | null;
}

/** How an answer went. Times are of `performance.now()`. */
export interface AnswerRecord {
  readonly question: Question;
  readonly startedAtMs: number;
  readonly tokenIds: number[];
  readonly tokenTimesMs: number[];
  readonly routes: Route[];
  /** The first of those between two tokens. */
  readonly interruptions: Interruption[];
  /** Null while it runs. */
  outcome: 'right' | 'wrong' | 'lost' | 'hung' | null;
  endedAtMs: number;
  error: SkeinError | null;
}

export interface AskOptions {
  /** The requester's session of the moment. */
  readonly current: () => RequesterSession;
  readonly model: ModelId;
  readonly tokenizer: Tokenizer;
  readonly question: Question;
  /** Hears of every event, with the record as it is then. */
  readonly onEvent?: (event: 'route' | 'token' | 'waiting', record: AnswerRecord) => void;
}

/** Asks, and compares. Never rejects. */
export async function ask(options: AskOptions): Promise<AnswerRecord> {
  const { question, onEvent } = options;
  const now = () => performance.now();
  const record: AnswerRecord = {
    question,
    startedAtMs: now(),
    tokenIds: [],
    tokenTimesMs: [],
    routes: [],
    interruptions: [],
    outcome: null,
    endedAtMs: NaN,
    error: null,
  };
  const abort = new AbortController();
  let watchdog = setTimeout(() => undefined, 0);
  const touch = () => {
    clearTimeout(watchdog);
    watchdog = setTimeout(() => abort.abort(), HUNG_MS);
  };
  touch();
  try {
    for await (const event of generate(requestOf(options), generateDeps(options), abort.signal)) {
      if (event.type === 'route') record.routes.push(event.route);
      if (event.type === 'token') {
        touch();
        const last = record.interruptions.at(-1);
        if (last?.resumedAtMs === null) last.resumedAtMs = now();
        record.tokenIds.push(event.tokenId);
        record.tokenTimesMs.push(now());
      }
      if (event.type === 'waiting' && record.interruptions.at(-1)?.resumedAtMs !== null) {
        record.interruptions.push(interruption(event.error, record.tokenIds.length, now()));
      }
      if (event.type === 'route' || event.type === 'token' || event.type === 'waiting') {
        onEvent?.(event.type, record);
      }
    }
    record.outcome = record.tokenIds.join() === question.answerIds.join() ? 'right' : 'wrong';
  } catch (thrown) {
    record.error = SkeinError.from(thrown);
    record.outcome = abort.signal.aborted ? 'hung' : 'lost';
  } finally {
    clearTimeout(watchdog);
    record.endedAtMs = now();
  }
  return record;
}

function requestOf({ model, question: { promptIds, answerIds, minTokens } }: AskOptions) {
  return {
    model,
    prompt: asPrompt(promptIds),
    maxTokens: minTokens > 0 ? answerIds.length : GOLDEN_MAX_TOKENS,
    sampling: sampling({ minTokens }),
    timeLimitMs: TIME_LIMIT_MS,
  };
}

function interruption({ code, message, data }: SkeinError, tokensBefore: number, atMs: number): Interruption {
  const peer = typeof data['peer'] === 'string' ? data['peer'] : null;
  return { atMs, code, peer, message, tokensBefore, resumedAtMs: null };
}
