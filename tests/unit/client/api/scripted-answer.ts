import type {
  AnswerEvent,
  AnswerPiece,
  ScoredToken,
  Usage,
} from '../../../../src/client/api/answer-events.ts';

export const HEAD = { id: 'ab'.repeat(16), createdSeconds: 1_700_000_000 };

export const USAGE: Usage = { promptTokens: 40, cachedTokens: 16, completionTokens: 9, reasoningTokens: 4 };

type Ending = Partial<Pick<Extract<AnswerEvent, { type: 'end' }>, 'end' | 'stopString'>> & {
  /** Tokens that were sampled. */
  readonly tokens?: number;
  /** Breaks off there instead. */
  readonly failure?: Error;
};

/** What `answerChat` would give: the pieces, and how it ends. */
export async function* scripted(
  pieces: readonly AnswerPiece[],
  { end = 'stop', stopString = null, tokens = 9, failure }: Ending = {},
): AsyncGenerator<AnswerEvent, void, void> {
  await Promise.resolve();
  yield { type: 'prompt', tokens: USAGE.promptTokens };
  yield { type: 'progress', choice: 0, progress: { type: 'queued', position: 1 } };
  yield* pieces;
  if (failure) throw failure;
  const result = {
    text: '',
    tokenIds: Array.from({ length: tokens }, (_, index) => index),
    promptTokens: USAGE.promptTokens,
    cachedTokens: USAGE.cachedTokens,
    finishReason: end === 'length' ? 'length' : 'stop',
    timeToFirstTokenMs: 1,
    reroutes: [],
    droppedTokens: 0,
    tokensPerSecond: null,
  } as const;
  yield { type: 'end', choice: 0, end, stopString, result };
  yield { type: 'done', usage: USAGE };
}

export const reasoning = (text: string): AnswerPiece => ({ type: 'reasoning', choice: 0, text });

export const text = (words: string, tokens: readonly ScoredToken[] = []): AnswerPiece => ({
  type: 'text',
  choice: 0,
  text: words,
  tokens,
});

/** A call whose arguments come in two pieces. */
export function call(index: number, name: string, json: string): AnswerPiece[] {
  const middle = Math.floor(json.length / 2);
  return [
    { type: 'tool-call', choice: 0, index, id: `call_${index}`, name },
    { type: 'tool-arguments', choice: 0, index, json: json.slice(0, middle) },
    { type: 'tool-arguments', choice: 0, index, json: json.slice(middle) },
  ];
}

export function scored(token: string, logProbability: number): ScoredToken {
  const bytes = [...new TextEncoder().encode(token)];
  return {
    tokenId: 1,
    text: token,
    bytes,
    logProbability,
    top: [{ tokenId: 1, text: token, bytes, logProbability }],
  };
}

/** Answers every request of a client with these events, as a server would. Keeps what was asked. */
export function sseFetch(events: () => AsyncIterable<{ readonly type: string }>) {
  const bodies: unknown[] = [];
  const fetch = async (_url: unknown, init?: { body?: unknown }): Promise<Response> => {
    bodies.push(JSON.parse(String(init?.body)));
    let sent = '';
    try {
      for await (const event of events()) sent += `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;
    } catch {
      // Told in the stream.
    }
    return new Response(sent, { headers: { 'content-type': 'text/event-stream' } });
  };
  return { fetch, bodies };
}

/** Answers every request with one object. */
export function jsonFetch(whole: () => Promise<unknown>): (url: unknown) => Promise<Response> {
  return async () => Response.json(await whole());
}
