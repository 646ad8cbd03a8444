import type { ErrorShape } from '../protocol/errors.ts';

/** What the host of grammars asks of their worker, many at a time; done in order. */
export type GrammarCommand =
  /** First of all, where grammars are to be compiled. */
  | { readonly type: 'vocabulary'; readonly vocabulary: Vocabulary }
  /** Whether a structural tag can be made a grammar of. */
  | { readonly type: 'check'; readonly call: number; readonly structuralTag: string }
  /** Compiles, and takes what was sampled before; answered with the mask of what may come next. */
  | {
      readonly type: 'open';
      readonly call: number;
      readonly constraint: number;
      readonly structuralTag: string;
      readonly stopTokenIds: readonly number[];
      readonly answer: readonly number[];
    }
  /** A sampled token; answered with the mask of what may come next. */
  | { readonly type: 'accept'; readonly call: number; readonly constraint: number; readonly tokenId: number }
  | { readonly type: 'close'; readonly constraint: number };

export type GrammarAnswer =
  /** A mask is u32 [vocab / 32], rounded up; null where anything may come, and for what asks for none. */
  | { readonly call: number; readonly mask: Uint32Array<ArrayBuffer> | null }
  /** The worker is of no use any more where it `isSpent`. */
  | { readonly call: number; readonly error: ErrorShape; readonly isSpent: boolean };

/** The tokens of a model as bytes. */
export interface Vocabulary {
  /** By id: each byte as the character that byte-level tokenizers write it as; empty for those without any. */
  readonly tokens: readonly string[];
  /** Marks rather than text: they come where a structural tag names them, and to end an answer. */
  readonly marks: readonly (readonly [id: number, text: string])[];
  /** Logits the model has, which may be more. */
  readonly vocabSize: number;
}
