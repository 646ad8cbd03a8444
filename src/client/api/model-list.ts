import type { ModelCard } from '../../protocol/signaling.ts';
import { maxSequenceTokens } from '../../protocol/slice-bytes.ts';
import type { ModelList, ModelObject } from './openai-objects.ts';

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
