import type { ModelCard } from '../../src/protocol/signaling.ts';

/** Models here have no date; Anthropic's clients want one. */
const NO_DATE = '1970-01-01T00:00:00Z';

/** A model as Anthropic's API describes it. */
export function anthropicModel({ id }: ModelCard): object {
  return { type: 'model', id, display_name: id, created_at: NO_DATE };
}

/** All on one page. */
export function anthropicModels(cards: readonly ModelCard[]): object {
  return {
    data: cards.map(anthropicModel),
    has_more: false,
    first_id: cards[0]?.id ?? null,
    last_id: cards.at(-1)?.id ?? null,
  };
}
