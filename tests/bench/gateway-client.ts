import * as v from 'valibot';
import { SkeinError } from '../../src/protocol/errors.ts';

export interface StreamedAnswer {
  readonly question: string;
  readonly text: string;
  readonly tokens: number;
  readonly startMs: number;
  readonly firstTokenMs: number;
  readonly endMs: number;
}

export interface StreamQuestion {
  readonly question: string;
  /** The answer has exactly so many. */
  readonly answerTokens: number;
  readonly signal: AbortSignal;
}

const chunkSchema = v.object({
  choices: v.array(v.object({ delta: v.object({ content: v.nullish(v.string()) }) })),
  usage: v.nullish(v.object({ completion_tokens: v.number() })),
});

/**
 * One greedy answer, read from the stream without a client library, whose own work would be measured as well.
 * @throws SkeinError for any answer that is not whole.
 */
export async function streamAnswer(
  serverUrl: string,
  { question, answerTokens, signal }: StreamQuestion,
): Promise<StreamedAnswer> {
  const startMs = performance.now();
  const response = await fetch(`${serverUrl}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    signal,
    body: JSON.stringify({
      model: 'skein-tiny',
      messages: [{ role: 'user', content: question }],
      temperature: 0,
      stream: true,
      stream_options: { include_usage: true },
      min_tokens: answerTokens,
      max_completion_tokens: answerTokens,
    }),
  });
  if (!response.ok || response.body === null) {
    throw new SkeinError('internal', `HTTP ${response.status}: ${(await response.text()).slice(0, 200)}`);
  }
  let text = '';
  let tokens = 0;
  let firstTokenMs: number | null = null;
  for await (const data of eventData(response.body)) {
    if (data === '[DONE]') {
      if (tokens !== answerTokens)
        throw new SkeinError('internal', `The answer has ${tokens} of ${answerTokens} tokens.`);
      const endMs = performance.now();
      return { question, text, tokens, startMs, firstTokenMs: firstTokenMs ?? endMs, endMs };
    }
    const { choices, usage } = v.parse(chunkSchema, JSON.parse(data));
    const piece = choices[0]?.delta.content ?? '';
    if (piece !== '') firstTokenMs ??= performance.now();
    text += piece;
    tokens = usage?.completion_tokens ?? tokens;
  }
  throw new SkeinError('internal', 'The stream ended before its answer.');
}

/** What comes after `data:`, event by event; comments are left out. */
async function* eventData(body: ReadableStream<Uint8Array>): AsyncGenerator<string, void, void> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const bytes of body) {
    rest += decoder.decode(bytes, { stream: true });
    const lines = rest.split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) if (line.startsWith('data: ')) yield line.slice('data: '.length);
  }
}
