import * as v from 'valibot';
import { SkeinError } from '../protocol/errors.ts';
import { constraintError } from '../protocol/constraint.ts';
import { MAX_CONSTRAINT_CHARACTERS, MAX_HISTORY_TOKENS, MAX_TIME_LIMIT_MS } from '../protocol/limits.ts';
import { samplingSchema } from '../protocol/sampling.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import { DEFAULT_TIME_LIMIT_MS } from './generation.ts';
import type { GenerateRequest, Prompt } from './generation.ts';

/** @throws SkeinError `bad-argument` naming the field, before anything is asked of the mesh. */
export function checkRequest({
  sampling,
  maxTokens,
  timeLimitMs = DEFAULT_TIME_LIMIT_MS,
  constraint,
}: GenerateRequest): void {
  const result = v.safeParse(samplingSchema, sampling);
  if (!result.success) {
    const [issue] = result.issues;
    const field = v.getDotPath(issue) ?? 'sampling';
    throw new SkeinError('bad-argument', `${field}: ${issue.message}.`, { data: { field } });
  }
  if (!Number.isInteger(maxTokens) || maxTokens < 1) {
    throw new SkeinError('bad-argument', `maxTokens is ${maxTokens}; it must be a whole number from 1.`, {
      data: { field: 'maxTokens' },
    });
  }
  if (sampling.minTokens > maxTokens) {
    throw new SkeinError(
      'bad-argument',
      `minTokens is ${sampling.minTokens} and maxTokens ${maxTokens}. Ask for more tokens, or insist on fewer.`,
      { data: { field: 'minTokens' } },
    );
  }
  if (constraint !== undefined && (constraint === '' || constraint.length > MAX_CONSTRAINT_CHARACTERS)) {
    throw constraintError(
      `The constraint has ${constraint.length} characters; it may have 1 to ${MAX_CONSTRAINT_CHARACTERS}.`,
    );
  }
  if (!Number.isInteger(timeLimitMs) || timeLimitMs < 1 || timeLimitMs > MAX_TIME_LIMIT_MS) {
    throw new SkeinError(
      'bad-argument',
      `timeLimitMs is ${timeLimitMs}; it must be a whole number from 1 to ${MAX_TIME_LIMIT_MS}.`,
      { data: { field: 'timeLimitMs' } },
    );
  }
}

/** Tokens the answer may have. @throws SkeinError `bad-argument` where there is no room for any. */
export function answerRoom(
  { maxTokens, contextTokens = Infinity, constraint }: GenerateRequest,
  promptTokens: number,
): number {
  if (promptTokens === 0) throw new SkeinError('bad-argument', 'The prompt is empty. Write something.');
  // What comes after more could not be told to another route.
  const mostTokens = constraint === undefined ? Infinity : MAX_HISTORY_TOKENS;
  const room = Math.min(maxTokens, mostTokens, contextTokens - promptTokens);
  if (room >= 1) return room;
  throw new SkeinError(
    'bad-argument',
    `The conversation has ${promptTokens} tokens, and this mesh holds ${contextTokens} with the answer. Start over, or shorten it.`,
    { data: { promptTokens, contextTokens } },
  );
}

/** The ids a prompt becomes, through the chat template for a conversation. */
export function encodePrompt(prompt: Prompt, tokenizer: Tokenizer): readonly number[] {
  switch (prompt.kind) {
    case 'chat':
      return tokenizer.encode(tokenizer.renderChat(prompt.messages));
    case 'text':
      return tokenizer.encode(prompt.text);
    case 'ids':
      return prompt.ids;
  }
}
