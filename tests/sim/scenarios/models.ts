import type { ModelId } from '../../../src/protocol/ids.ts';
import type { ModelCard } from '../../../src/protocol/signaling.ts';

/** Keys and values in 16 bits. */
const BYTES_PER_CACHE_ELEMENT = 2;

interface Shape {
  readonly id: string;
  readonly layerCount: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly queryHeads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly vocabSize: number;
  /** Bytes of a weight in the layers, and in embedding and head. */
  readonly bytesPerWeight: number;
  readonly bytesPerEmbeddingWeight: number;
}

/** Qwen2.5-72B-Instruct-GPTQ-Int4: groups of 128 in 4 bits with a 16-bit scale and a zero; embedding and head in 16 bits. */
export const QWEN_72B_INT4 = cardOf({
  id: 'Qwen2.5-72B int4',
  layerCount: 80,
  hiddenSize: 8192,
  intermediateSize: 29_568,
  queryHeads: 64,
  kvHeads: 8,
  headDim: 128,
  vocabSize: 152_064,
  bytesPerWeight: 0.52,
  bytesPerEmbeddingWeight: 2,
});

/** Qwen3-8B, every matrix in groups of 32 in 4 bits with a 16-bit scale, the cache in 16 bits. */
export const QWEN_8B_INT4 = cardOf({
  id: 'Qwen3-8B int4',
  layerCount: 36,
  hiddenSize: 4096,
  intermediateSize: 12_288,
  queryHeads: 32,
  kvHeads: 8,
  headDim: 128,
  vocabSize: 151_936,
  bytesPerWeight: 0.5625,
  bytesPerEmbeddingWeight: 0.5625,
});

/** Qwen2.5-3B in the same way. */
export const QWEN_3B_INT4 = cardOf({
  id: 'Qwen2.5-3B int4',
  layerCount: 36,
  hiddenSize: 2048,
  intermediateSize: 11_008,
  queryHeads: 16,
  kvHeads: 2,
  headDim: 128,
  vocabSize: 151_936,
  bytesPerWeight: 0.5625,
  bytesPerEmbeddingWeight: 0.5625,
});

function cardOf(shape: Shape): ModelCard {
  const { hiddenSize, intermediateSize, queryHeads, kvHeads, headDim, vocabSize } = shape;
  const attention = hiddenSize * headDim * (2 * queryHeads + 2 * kvHeads);
  const layerWeights = attention + 3 * hiddenSize * intermediateSize;
  const embeddingWeights = hiddenSize * vocabSize;
  return {
    id: shape.id as ModelId,
    url: `/models/${shape.id}`,
    quantization: 'int4',
    activations: 'f32',
    cache: 'f16',
    layerCount: shape.layerCount,
    hiddenSize,
    contextLength: 32_768,
    bytesPerLayer: layerWeights * shape.bytesPerWeight,
    embeddingBytes: embeddingWeights * shape.bytesPerEmbeddingWeight,
    headBytes: embeddingWeights * shape.bytesPerEmbeddingWeight,
    multiplyAddsPerLayer: layerWeights,
    headMultiplyAdds: embeddingWeights,
    cacheBytesPerTokenPerLayer: 2 * kvHeads * headDim * BYTES_PER_CACHE_ELEMENT,
  };
}
