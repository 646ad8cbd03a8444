import type { Prompt } from '../../src/client/generate.ts';

/** Float64 outputs of skein-tiny from another implementation; made by public/models/skein-tiny/recipe/golden.py. */
export interface Golden {
  readonly cases: readonly {
    readonly user: string;
    readonly prompt_ids: readonly number[];
    readonly greedy_ids: readonly number[];
    readonly text: string;
    readonly min_margin: number;
  }[];
  readonly probe: {
    readonly ids: readonly number[];
    readonly logits_last: readonly number[];
    /** [0] the embedding, [i] the residual after layer i − 1; last position. */
    readonly hidden_last_by_layer: readonly (readonly number[])[];
    readonly token_logprobs: readonly number[];
  };
  readonly heldout: {
    readonly texts: readonly string[];
    readonly tokens: number;
    readonly mean_nll: number;
  };
}

/** Longest golden answer. */
export const GOLDEN_MAX_TOKENS = 96;

/** Every way the acceptance tests cut the 8 layers: whole, in two, in three, and one layer per stage. */
export const GOLDEN_CUTS: readonly (readonly number[])[] = [[], [4], [2, 5], [1, 2, 3, 4, 5, 6, 7]];

export function asPrompt(ids: readonly number[]): Prompt {
  return { kind: 'ids', ids };
}
