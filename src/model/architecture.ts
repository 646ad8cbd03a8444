/** The model families whose decoder layers the engine knows. */
export type ModelFamily = 'llama' | 'qwen2' | 'qwen3';

/** Llama 3's stretched rotary frequencies. Source: `rope_scaling` of `rope_type: llama3` in Hugging Face transformers. */
export interface Llama3RopeScaling {
  readonly kind: 'llama3';
  readonly factor: number;
  readonly lowFrequencyFactor: number;
  readonly highFrequencyFactor: number;
  readonly originalContextLength: number;
}

/** In `layers`, a token sees this many of the latest ones, itself among them. */
export interface SlidingWindow {
  readonly tokens: number;
  /** Indices, ascending; at least one. */
  readonly layers: readonly number[];
}

/** A dense pre-norm transformer decoder, as read from a config.json. Sizes in elements. */
export interface Architecture {
  readonly family: ModelFamily;
  readonly layerCount: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly headCount: number;
  readonly kvHeadCount: number;
  readonly headDim: number;
  readonly vocabSize: number;
  readonly rmsNormEpsilon: number;
  readonly ropeTheta: number;
  readonly ropeScaling: Llama3RopeScaling | null;
  /** Q, K and V projections add a bias (Qwen2). */
  readonly qkvBias: boolean;
  /** Q and K are RMS-normalised per head before the rotation (Qwen3). */
  readonly qkNorm: boolean;
  /** Null where every layer sees the whole context. */
  readonly slidingWindow: SlidingWindow | null;
  /** The head multiplies by the embedding matrix instead of one of its own. */
  readonly tiedEmbedding: boolean;
  readonly contextLength: number;
}

/** Which part of a model one stage holds: layers `[layerStart, layerEnd)`, the embedding if it starts, the head if it ends. */
export interface SliceRange {
  readonly layerStart: number;
  readonly layerEnd: number;
}

/** How many of the latest tokens a layer sees; null: all. */
export function layerWindow({ slidingWindow }: Architecture, layer: number): number | null {
  return slidingWindow?.layers.includes(layer) === true ? slidingWindow.tokens : null;
}

export function hasEmbedding(slice: SliceRange): boolean {
  return slice.layerStart === 0;
}

export function hasHead(slice: SliceRange, architecture: Architecture): boolean {
  return slice.layerEnd === architecture.layerCount;
}
