import type { ModelCard } from '../../protocol/signaling.ts';
import type { AnswerEnd, AnswerEvent, ScoredToken } from './answer-events.ts';
import { newAnswerHead } from './answer-head.ts';
import { completionUsage } from './answer-usage.ts';
import type { ChatQuestion } from './chat-request.ts';
import { modelFingerprint } from './model-fingerprint.ts';
import type {
  ChatChoice,
  ChatCompletion,
  ChatCompletionChunk,
  ChatDelta,
  ChatFinishReason,
  ChatLogprobs,
} from './openai-objects.ts';
import { unfinished } from './unfinished.ts';

interface OpenChoice {
  text: string;
  reasoning: string;
  readonly calls: { id: string; name: string; json: string }[];
  readonly tokens: ScoredToken[];
  end: AnswerEnd | null;
}

/**
 * The whole answer, in OpenAI's form.
 * @throws whatever the events throw.
 */
export async function chatCompletion(
  question: ChatQuestion,
  events: AsyncIterable<AnswerEvent>,
  card: ModelCard,
  head = newAnswerHead(),
): Promise<ChatCompletion> {
  const choices = Array.from({ length: question.query.choices }, (): OpenChoice => {
    return { text: '', reasoning: '', calls: [], tokens: [], end: null };
  });
  for await (const event of events) {
    if (event.type === 'done') {
      return {
        object: 'chat.completion',
        ...identity(question, card, head),
        choices: choices.map((choice, index) => wholeChoice(choice, index, question)),
        usage: completionUsage(event.usage),
      };
    }
    if (event.type !== 'prompt') take(choices[event.choice], event);
  }
  throw unfinished();
}

function take(
  choice: OpenChoice | undefined,
  event: Exclude<AnswerEvent, { type: 'prompt' | 'done' }>,
): void {
  if (choice === undefined) return;
  switch (event.type) {
    case 'reasoning':
      choice.reasoning += event.text;
      break;
    case 'text':
      choice.text += event.text;
      choice.tokens.push(...event.tokens);
      break;
    case 'tool-call':
      choice.calls[event.index] = { id: event.id, name: event.name, json: '' };
      break;
    case 'tool-arguments': {
      const call = choice.calls[event.index];
      if (call !== undefined) call.json += event.json;
      break;
    }
    case 'end':
      choice.end = event.end;
      break;
    default:
  }
}

function wholeChoice(
  { text, reasoning, calls, tokens, end }: OpenChoice,
  index: number,
  question: ChatQuestion,
): ChatChoice {
  if (end === null) throw unfinished();
  return {
    index,
    message: {
      role: 'assistant',
      content: text === '' && (calls.length > 0 || reasoning !== '') ? null : text,
      refusal: null,
      ...(reasoning !== '' && { reasoning_content: reasoning }),
      ...(calls.length > 0 && {
        tool_calls: calls.map(({ id, name, json }) => ({
          id,
          type: 'function' as const,
          function: { name, arguments: json },
        })),
      }),
    },
    logprobs: logprobsOf(question, tokens),
    finish_reason: finishReason(end),
  };
}

/**
 * The answer while it comes: a chunk with the role when a choice says its first word, one for each piece, one for its end, and
 * the usage where it is asked for.
 * @throws whatever the events throw.
 */
export async function* chatChunks(
  question: ChatQuestion,
  events: AsyncIterable<AnswerEvent>,
  card: ModelCard,
  head = newAnswerHead(),
): AsyncGenerator<ChatCompletionChunk, void, void> {
  const begun = new Set<number>();
  const base = { object: 'chat.completion.chunk' as const, ...identity(question, card, head) };
  const usage = question.includeUsage ? { usage: null } : {};
  const chunk = (
    index: number,
    delta: ChatDelta,
    tokens: readonly ScoredToken[] = [],
    end: AnswerEnd | null = null,
  ): ChatCompletionChunk => ({
    ...base,
    choices: [
      {
        index,
        delta,
        logprobs: tokens.length > 0 ? logprobsOf(question, tokens) : null,
        finish_reason: end === null ? null : finishReason(end),
      },
    ],
    ...usage,
  });
  for await (const event of events) {
    if (event.type === 'progress' || event.type === 'prompt') continue;
    if (event.type === 'done') {
      if (question.includeUsage) yield { ...base, choices: [], usage: completionUsage(event.usage) };
      return;
    }
    if (!begun.has(event.choice)) {
      begun.add(event.choice);
      const isCall = event.type === 'tool-call';
      yield chunk(event.choice, { role: 'assistant', content: isCall ? null : '', refusal: null });
    }
    if (event.type === 'end') yield chunk(event.choice, {}, [], event.end);
    else yield chunk(event.choice, deltaOf(event), event.type === 'text' ? event.tokens : []);
  }
  throw unfinished();
}

function deltaOf(
  event: Extract<AnswerEvent, { type: 'reasoning' | 'text' | 'tool-call' | 'tool-arguments' }>,
): ChatDelta {
  switch (event.type) {
    case 'reasoning':
      return { reasoning_content: event.text };
    case 'text':
      return { content: event.text };
    case 'tool-call': {
      const { index, id, name } = event;
      return { tool_calls: [{ index, id, type: 'function', function: { name, arguments: '' } }] };
    }
    case 'tool-arguments':
      return { tool_calls: [{ index: event.index, function: { arguments: event.json } }] };
  }
}

function identity(
  { model }: ChatQuestion,
  card: ModelCard,
  { id, createdSeconds }: ReturnType<typeof newAnswerHead>,
) {
  return {
    id: `chatcmpl-${id}`,
    created: createdSeconds,
    model,
    system_fingerprint: modelFingerprint(card),
  };
}

function finishReason(end: AnswerEnd): ChatFinishReason {
  return end === 'tool-calls' ? 'tool_calls' : end;
}

function logprobsOf({ query }: ChatQuestion, tokens: readonly ScoredToken[]): ChatLogprobs | null {
  if (query.scoresTokens !== true) return null;
  return {
    content: tokens.map(({ text, bytes, logProbability, top }) => ({
      token: text,
      bytes: [...bytes],
      logprob: logProbability,
      top_logprobs: top.map((other) => ({
        token: other.text,
        bytes: [...other.bytes],
        logprob: other.logProbability,
      })),
    })),
    refusal: null,
  };
}
