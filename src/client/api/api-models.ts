import type { ModelCard } from '../../protocol/signaling.ts';
import type { Tokenizer } from '../../tokenizer/tokenizer.ts';
import type { GenerateDeps } from '../generation.ts';

/** A model of the mesh, ready for questions. */
export interface ApiModel {
  readonly card: ModelCard;
  readonly tokenizer: Tokenizer;
  readonly deps: GenerateDeps;
}

/** The models that a mesh offers. */
export interface ApiModels {
  /** In the operator's order. */
  list(): readonly ModelCard[];
  /** Loads the tokenizer once. @throws SkeinError `model-missing` for a name that is not in the list. */
  open(id: string, signal?: AbortSignal): Promise<ApiModel>;
}
