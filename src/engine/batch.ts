import type { SamplingParams, TokenLogProbability } from '../protocol/sampling.ts';

/** What the head does with the rows of one sequence. Ignored by slices without a head. */
export type HeadRequest =
  | { readonly kind: 'none' }
  /** Sample one token from the last row. */
  | {
      readonly kind: 'sample';
      readonly params: SamplingParams;
      /** Logits that are changed before the choice, from `TokenHistory.adjustmentsAt`; none when left out. */
      readonly adjustments?: Uint32Array<ArrayBuffer>;
      /** u32 [vocab / 32], rounded up: a bit for each token that may be chosen; all where left out. */
      readonly mask?: Uint32Array<ArrayBuffer>;
    }
  /** Logits of every row, read back whole; for tests and measurements. */
  | { readonly kind: 'logits' };

/** The rows of one sequence in a forward pass. */
export interface BatchSequence {
  /** Token rows this sequence adds, ≥ 1. */
  readonly rowCount: number;
  /** Tokens already in the cache: the position of the first row. */
  readonly cacheLength: number;
  /** Cache blocks in order; they hold at least `cacheLength + rowCount` tokens. */
  readonly blockTable: readonly number[];
  readonly head: HeadRequest;
}

/** Many sequences in one forward pass: their rows concatenated, in order of `sequences`. Prefill chunks and decode tokens mix. */
export interface RaggedBatch {
  readonly sequences: readonly BatchSequence[];
  readonly input:
    | { readonly kind: 'tokens'; readonly tokenIds: Uint32Array }
    /** f32 [rows, hidden], row-major. */
    | { readonly kind: 'activations'; readonly values: Float32Array };
}

export type SequenceResult =
  | { readonly kind: 'none' }
  /** Log-probabilities under the unmodified softmax of the logits. */
  | {
      readonly kind: 'token';
      readonly tokenId: number;
      readonly logProbability: number;
      /** Most probable first, the lower id first among equals. */
      readonly topLogProbabilities: readonly TokenLogProbability[];
    }
  /** f32 [rowCount, vocab]. */
  | { readonly kind: 'logits'; readonly values: Float32Array };

export interface BatchResult {
  /** f32 [rows, hidden] after the last layer of the slice; null on a slice with a head. */
  readonly hiddenStates: Float32Array | null;
  /** One per sequence of the batch, in order. */
  readonly sequences: readonly SequenceResult[];
}

/** A cache block, in every layer of a slice, that gets the content of another. */
export interface BlockCopy {
  readonly from: number;
  readonly to: number;
}

/** Layers `[layerStart, layerEnd)` of a model on some device, with their key-value cache. */
export interface Slice {
  readonly hiddenSize: number;
  readonly vocabSize: number;
  readonly hasEmbedding: boolean;
  readonly hasHead: boolean;
  /** Blocks in the cache pool; a block holds `BLOCK_TOKENS` tokens of every layer of the slice. */
  readonly blockCount: number;
  /** Positions a sequence may have. */
  readonly contextLength: number;
  /** Rows one forward pass may have, over all its sequences. */
  readonly maxBatchRows: number;
  /** Sequences one forward pass may have. */
  readonly maxBatchSequences: number;
  /**
   * One pass at a time: the caller waits for the promise before the next.
   * @throws SkeinError `bad-argument` for shapes that do not fit, `device-lost` when the device is gone.
   */
  forward(batch: RaggedBatch): Promise<BatchResult>;
  /**
   * Copies whole cache blocks, after the pass before and before the next. One block may be copied to several others.
   * @throws SkeinError `bad-argument` for a block that is not there, and for a target that is another copy's source or target.
   */
  copyBlocks(copies: readonly BlockCopy[]): void;
  dispose(): void;
}

export { BLOCK_TOKENS } from '../protocol/stage.ts';
