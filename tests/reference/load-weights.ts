import { dequantize } from '../../src/model/quantized.ts';
import { decodeElements } from './number-formats.ts';
import type { Checkpoint } from '../../src/model/checkpoint.ts';
import type { Projection, ReferenceLayer, ReferenceWeights } from './transformer.ts';

/** Reads a whole checkpoint into float64. Names and shapes are spelled out here, apart from the engine's own list. */
export async function loadReferenceWeights(checkpoint: Checkpoint): Promise<ReferenceWeights> {
  const { architecture } = checkpoint;
  const { hiddenSize, intermediateSize, headDim, vocabSize, qkvBias, qkNorm } = architecture;
  const queryWidth = architecture.headCount * headDim;
  const kvWidth = architecture.kvHeadCount * headDim;

  const read = async (name: string, ...shape: number[]): Promise<Float64Array> => {
    const tensor = await checkpoint.read(name, shape);
    if (tensor.kind === 'quantized') return Float64Array.from(dequantize(tensor));
    return decodeElements(tensor.format, tensor.bytes);
  };
  const projection = async (name: string, out: number, into: number, bias: boolean): Promise<Projection> => ({
    weight: await read(`${name}.weight`, out, into),
    bias: bias ? await read(`${name}.bias`, out) : null,
  });
  const layer = async (index: number): Promise<ReferenceLayer> => {
    const prefix = `model.layers.${index}`;
    const attention = `${prefix}.self_attn`;
    return {
      inputNorm: await read(`${prefix}.input_layernorm.weight`, hiddenSize),
      query: await projection(`${attention}.q_proj`, queryWidth, hiddenSize, qkvBias),
      key: await projection(`${attention}.k_proj`, kvWidth, hiddenSize, qkvBias),
      value: await projection(`${attention}.v_proj`, kvWidth, hiddenSize, qkvBias),
      queryNorm: qkNorm ? await read(`${attention}.q_norm.weight`, headDim) : null,
      keyNorm: qkNorm ? await read(`${attention}.k_norm.weight`, headDim) : null,
      output: await projection(`${attention}.o_proj`, hiddenSize, queryWidth, false),
      postAttentionNorm: await read(`${prefix}.post_attention_layernorm.weight`, hiddenSize),
      gate: await projection(`${prefix}.mlp.gate_proj`, intermediateSize, hiddenSize, false),
      up: await projection(`${prefix}.mlp.up_proj`, intermediateSize, hiddenSize, false),
      down: await projection(`${prefix}.mlp.down_proj`, hiddenSize, intermediateSize, false),
    };
  };

  const embedding = await read('model.embed_tokens.weight', vocabSize, hiddenSize);
  const layers: ReferenceLayer[] = [];
  for (let index = 0; index < architecture.layerCount; index++) layers.push(await layer(index));
  return {
    architecture,
    embedding,
    layers,
    finalNorm: await read('model.norm.weight', hiddenSize),
    head: architecture.tiedEmbedding ? embedding : await read('lm_head.weight', vocabSize, hiddenSize),
  };
}
