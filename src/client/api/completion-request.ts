import * as v from 'valibot';
import type { ModelId } from '../../protocol/ids.ts';
import { MAX_SEQUENCE_TOKENS } from '../../protocol/limits.ts';
import type { Prompt } from '../generation.ts';
import type { ChatQuery } from './chat-query.ts';
import { bookkeepingEntries, checkMinTokens, streamingOf, streamOptions } from './chat-request.ts';
import { badParam, checkBody, optional, refused } from './request-body.ts';
import {
  choiceCount,
  extensionEntries,
  MAX_CHOICES,
  MAX_STOP_STRINGS,
  openAiSamplingEntries,
  samplingOf,
  stopStrings,
  timeLimitOf,
  tokenCount,
  wholeNumber,
} from './sampling-fields.ts';

/** A request to the text completions endpoint: one query for each prompt. */
export interface CompletionQuestion {
  readonly kind: 'completion';
  readonly model: ModelId;
  readonly queries: readonly ChatQuery[];
  readonly stream: boolean;
  /** Whether the last chunk of a stream is to carry the usage. */
  readonly includeUsage: boolean;
}

/** What OpenAI's API has where none is asked for. */
const DEFAULT_MAX_TOKENS = 16;
/** What OpenAI's text completions report at most; chat completions report more. */
const MAX_COMPLETION_LOG_PROBABILITIES = 5;

const tokenIds = v.pipe(
  v.array(wholeNumber(0, 0xffff_ffff)),
  v.maxLength(MAX_SEQUENCE_TOKENS, `takes at most ${MAX_SEQUENCE_TOKENS} tokens`),
  v.transform((ids): Prompt => ({ kind: 'ids', ids })),
);
const text = v.pipe(
  v.string(),
  v.transform((written): Prompt => ({ kind: 'text', text: written })),
);

const severalPrompts = v.pipe(
  v.array(v.lazy((prompt): v.GenericSchema<unknown, Prompt> => (Array.isArray(prompt) ? tokenIds : text))),
  v.minLength(1, 'is empty. Send at least one prompt'),
  v.maxLength(MAX_CHOICES, `takes at most ${MAX_CHOICES} prompts`),
);
const onePrompt = (prompt: v.GenericSchema<unknown, Prompt>) =>
  v.pipe(
    prompt,
    v.transform((read) => [read]),
  );

const prompts = v.lazy((input): v.GenericSchema<unknown, Prompt[]> => {
  if (!Array.isArray(input)) return onePrompt(text);
  return typeof input[0] === 'number' ? onePrompt(tokenIds) : severalPrompts;
});

export const completionRequestSchema = v.strictObject({
  model: v.string(),
  prompt: prompts,
  ...openAiSamplingEntries,
  ...extensionEntries,
  user: bookkeepingEntries.user,
  n: optional(choiceCount),
  best_of: optional(choiceCount),
  max_tokens: optional(tokenCount),
  stop: stopStrings(MAX_STOP_STRINGS),
  logprobs: optional(wholeNumber(0, MAX_COMPLETION_LOG_PROBABILITIES)),
  stream: optional(v.boolean()),
  stream_options: optional(streamOptions),
  echo: refused('Put the prompt before the answer yourself.', false),
  suffix: refused('Models here only write on. Put what is to come after into the prompt.', ''),
});

/** @throws SkeinError `bad-argument` naming the parameter in `data.param`. */
export function parseCompletionRequest(json: unknown): CompletionQuestion {
  const body = checkBody(completionRequestSchema, json);
  const choices = body.n ?? 1;
  if (body.best_of !== null && body.best_of !== undefined && body.best_of !== choices) {
    throw badParam(
      'best_of',
      `must be n, which is ${choices}: answers are not ranked here. Choose among n yourself.`,
    );
  }
  if (body.prompt.length * choices > MAX_CHOICES) {
    throw badParam(
      'prompt',
      `has ${body.prompt.length} texts, with ${choices} answers each. Ask for ${MAX_CHOICES} answers at most at once.`,
    );
  }
  const model = body.model as ModelId;
  const sampling = samplingOf(body, body.logprobs ?? 0);
  const queries = body.prompt.map((prompt): ChatQuery => ({
    model,
    prompt,
    tools: [],
    toolChoice: { kind: 'none' },
    isParallel: true,
    shape: { kind: 'text' },
    sampling,
    scoresTokens: typeof body.logprobs === 'number',
    maxTokens: body.max_tokens ?? DEFAULT_MAX_TOKENS,
    stopStrings: body.stop ?? [],
    thinks: null,
    choices,
    ...timeLimitOf(body.time_limit_seconds),
  }));
  for (const query of queries) checkMinTokens(query);
  return { kind: 'completion', model, queries, ...streamingOf(body) };
}
