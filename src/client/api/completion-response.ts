import type { ModelCard } from '../../protocol/signaling.ts';
import type { AnswerEnd, AnswerEvent, ScoredToken } from './answer-events.ts';
import { newAnswerHead } from './answer-head.ts';
import { completionUsage } from './answer-usage.ts';
import type { CompletionQuestion } from './completion-request.ts';
import { modelFingerprint } from './model-fingerprint.ts';
import type { Completion, CompletionChunk, CompletionLogprobs } from './openai-objects.ts';
import { unfinished } from './unfinished.ts';

/** Where a choice stands: characters of it so far. */
interface OpenChoice {
  text: string;
  readonly tokens: ScoredToken[];
  end: AnswerEnd | null;
}

/**
 * The whole answer, in OpenAI's form.
 * @throws whatever the events throw.
 */
export async function completion(
  question: CompletionQuestion,
  events: AsyncIterable<AnswerEvent>,
  card: ModelCard,
  head = newAnswerHead(),
): Promise<Completion> {
  const choices = Array.from({ length: choiceCountOf(question) }, (): OpenChoice => {
    return { text: '', tokens: [], end: null };
  });
  for await (const event of events) {
    if (event.type === 'done') {
      return {
        ...identity(question, card, head),
        choices: choices.map(({ text, tokens, end }, index) => {
          if (end === null) throw unfinished();
          return { index, text, logprobs: logprobsOf(question, tokens, 0), finish_reason: finishReason(end) };
        }),
        usage: completionUsage(event.usage),
      };
    }
    if (event.type !== 'text' && event.type !== 'end') continue;
    const choice = choices[event.choice];
    if (choice === undefined) continue;
    if (event.type === 'end') choice.end = event.end;
    else {
      choice.text += event.text;
      choice.tokens.push(...event.tokens);
    }
  }
  throw unfinished();
}

/**
 * The answer while it comes: a chunk for each piece, one for the end of each choice, and the usage where it is asked for.
 * @throws whatever the events throw.
 */
export async function* completionChunks(
  question: CompletionQuestion,
  events: AsyncIterable<AnswerEvent>,
  card: ModelCard,
  head = newAnswerHead(),
): AsyncGenerator<CompletionChunk, void, void> {
  const base = identity(question, card, head);
  const usage = question.includeUsage ? { usage: null } : {};
  const shownCharacters = new Map<number, number>();
  for await (const event of events) {
    switch (event.type) {
      case 'text': {
        const { choice, text, tokens } = event;
        const offset = shownCharacters.get(choice) ?? 0;
        shownCharacters.set(choice, offset + text.length);
        const logprobs = tokens.length > 0 ? logprobsOf(question, tokens, offset) : null;
        yield { ...base, choices: [{ index: choice, text, logprobs, finish_reason: null }], ...usage };
        break;
      }
      case 'end': {
        const ended = {
          index: event.choice,
          text: '',
          logprobs: null,
          finish_reason: finishReason(event.end),
        };
        yield { ...base, choices: [ended], ...usage };
        break;
      }
      case 'done':
        if (question.includeUsage) yield { ...base, choices: [], usage: completionUsage(event.usage) };
        return;
      default:
    }
  }
  throw unfinished();
}

function identity(
  { model }: CompletionQuestion,
  card: ModelCard,
  { id, createdSeconds }: ReturnType<typeof newAnswerHead>,
) {
  return {
    id: `cmpl-${id}`,
    object: 'text_completion' as const,
    created: createdSeconds,
    model,
    system_fingerprint: modelFingerprint(card),
  };
}

function choiceCountOf({ queries }: CompletionQuestion): number {
  return queries.reduce((count, { choices }) => count + choices, 0);
}

function finishReason(end: AnswerEnd): 'stop' | 'length' {
  return end === 'length' ? 'length' : 'stop';
}

/** @param offset characters of the answer before the first of the tokens. */
function logprobsOf(
  { queries }: CompletionQuestion,
  tokens: readonly ScoredToken[],
  offset: number,
): CompletionLogprobs | null {
  if (!queries.some(({ scoresTokens }) => scoresTokens === true)) return null;
  const offsets: number[] = [];
  let nextOffset = offset;
  for (const { text } of tokens) {
    offsets.push(nextOffset);
    nextOffset += text.length;
  }
  return {
    tokens: tokens.map(({ text }) => text),
    token_logprobs: tokens.map(({ logProbability }) => logProbability),
    top_logprobs: tokens.map(topOf),
    text_offset: offsets,
  };
}

/** The token itself is always among them. */
function topOf({ text, logProbability, top }: ScoredToken): Record<string, number> {
  const entries = top.map((other): [string, number] => [other.text, other.logProbability]);
  return Object.fromEntries([...entries, [text, logProbability]]);
}
