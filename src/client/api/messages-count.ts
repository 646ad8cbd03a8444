import { maxSequenceTokens } from '../../protocol/slice-bytes.ts';
import type { ApiModel } from './api-models.ts';
import type { ChatQuery } from './chat-query.ts';
import { prepareQuestion } from './prepare-question.ts';

/** Who counts wants to know by how much a conversation is too long; how long it may be at all keeps the work small. */
const COUNTED_CONTEXTS = 4;

/**
 * Tokens that a question would have as a prompt, with its tools and what the template writes around them.
 * @throws SkeinError `bad-argument` for one that is several times as long as the mesh holds.
 */
export function countTokens(
  query: ChatQuery,
  { card, tokenizer }: Pick<ApiModel, 'card' | 'tokenizer'>,
): { readonly input_tokens: number } {
  const mostTokens = COUNTED_CONTEXTS * maxSequenceTokens(card);
  return { input_tokens: prepareQuestion(query, tokenizer, mostTokens).promptIds.length };
}
