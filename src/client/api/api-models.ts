import type { ModelCard } from '../../protocol/signaling.ts';
import type { Tokenizer } from '../../tokenizer/tokenizer.ts';
import type { GenerateDeps } from '../generation.ts';

/** A model of the mesh, ready for questions. */
export interface ApiModel {
  readonly card: ModelCard;
  readonly tokenizer: Tokenizer;
  readonly deps: GenerateDeps;
  /**
   * Whether a structural tag can be kept to, asked before a question goes to the mesh; without it, the last stage says.
   * @throws SkeinError `bad-argument` with the reason.
   */
  checkStructuralTag?(structuralTag: string): Promise<void>;
}

/** The models that a mesh offers. */
export interface ApiModels {
  /** In the operator's order. */
  list(): readonly ModelCard[];
  /** Loads the tokenizer once. @throws SkeinError `model-missing` for a name that is not in the list. */
  open(id: string, signal?: AbortSignal): Promise<ApiModel>;
}
