import type { ModelCard } from '../../protocol/signaling.ts';
import { maxSequenceTokens } from '../../protocol/slice-bytes.ts';

/** A model as OpenAI's API describes it. */
export interface ModelObject {
  readonly id: string;
  readonly object: 'model';
  /** Models here have no date; OpenAI's clients want one. */
  readonly created: 0;
  readonly owned_by: 'skein';
  /** Tokens that a prompt and its answer may have together. */
  readonly context_length: number;
}

export interface ModelList {
  readonly object: 'list';
  readonly data: readonly ModelObject[];
}

export function modelObject(card: ModelCard): ModelObject {
  return {
    id: card.id,
    object: 'model',
    created: 0,
    owned_by: 'skein',
    context_length: maxSequenceTokens(card),
  };
}

export function modelList(cards: readonly ModelCard[]): ModelList {
  return { object: 'list', data: cards.map(modelObject) };
}
