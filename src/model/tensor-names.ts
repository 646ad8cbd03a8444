import { hasEmbedding, hasHead } from './architecture.ts';
import type { Architecture, SliceRange } from './architecture.ts';

/** What a checkpoint must hold under one name. Projections are `[out, in]`, row-major. */
export interface TensorSpec {
  readonly name: string;
  readonly shape: readonly number[];
}

export const EMBEDDING_TENSOR = 'model.embed_tokens.weight';
export const FINAL_NORM_TENSOR = 'model.norm.weight';
export const HEAD_TENSOR = 'lm_head.weight';

/** The tensor the head multiplies by: the embedding when tied. */
export function headTensorName(architecture: Architecture): string {
  return architecture.tiedEmbedding ? EMBEDDING_TENSOR : HEAD_TENSOR;
}

/** The Hugging Face names and shapes of one decoder layer, in order of use. */
export function layerTensors(architecture: Architecture, layer: number): TensorSpec[] {
  const { hiddenSize, intermediateSize, headDim, qkvBias, qkNorm } = architecture;
  const queryWidth = architecture.headCount * headDim;
  const kvWidth = architecture.kvHeadCount * headDim;
  const tensor = (name: string, ...shape: number[]): TensorSpec => ({
    name: `model.layers.${layer}.${name}`,
    shape,
  });
  return [
    tensor('input_layernorm.weight', hiddenSize),
    tensor('self_attn.q_proj.weight', queryWidth, hiddenSize),
    tensor('self_attn.k_proj.weight', kvWidth, hiddenSize),
    tensor('self_attn.v_proj.weight', kvWidth, hiddenSize),
    ...(qkvBias
      ? [
          tensor('self_attn.q_proj.bias', queryWidth),
          tensor('self_attn.k_proj.bias', kvWidth),
          tensor('self_attn.v_proj.bias', kvWidth),
        ]
      : []),
    ...(qkNorm
      ? [tensor('self_attn.q_norm.weight', headDim), tensor('self_attn.k_norm.weight', headDim)]
      : []),
    tensor('self_attn.o_proj.weight', hiddenSize, queryWidth),
    tensor('post_attention_layernorm.weight', hiddenSize),
    tensor('mlp.gate_proj.weight', intermediateSize, hiddenSize),
    tensor('mlp.up_proj.weight', intermediateSize, hiddenSize),
    tensor('mlp.down_proj.weight', hiddenSize, intermediateSize),
  ];
}

/**
 * Everything a slice needs and nothing else: the embedding where it starts the model, the final norm and the head where it
 * ends it. A tied head needs the embedding matrix too; a slice that is both first and last lists it once.
 */
export function sliceTensors(architecture: Architecture, slice: SliceRange): TensorSpec[] {
  const { hiddenSize, vocabSize, tiedEmbedding } = architecture;
  const embedding: TensorSpec = { name: EMBEDDING_TENSOR, shape: [vocabSize, hiddenSize] };
  const tensors: TensorSpec[] = hasEmbedding(slice) ? [embedding] : [];
  for (let layer = slice.layerStart; layer < slice.layerEnd; layer++) {
    tensors.push(...layerTensors(architecture, layer));
  }
  if (hasHead(slice, architecture)) {
    tensors.push({ name: FINAL_NORM_TENSOR, shape: [hiddenSize] });
    if (!tiedEmbedding) tensors.push({ name: HEAD_TENSOR, shape: [vocabSize, hiddenSize] });
    else if (!hasEmbedding(slice)) tensors.push(embedding);
  }
  return tensors;
}
