import * as v from 'valibot';
import { MAX_HIDDEN_SIZE, MAX_SEQUENCE_TOKENS } from '../protocol/limits.ts';
import { corrupt, show, unsupported } from './config-errors.ts';
import { flag, parseFields, positive, size } from './config-fields.ts';
import { identifyModelType } from './config-refusals.ts';
import { parseRope } from './config-rope.ts';
import { parseSlidingWindow } from './config-window.ts';
import { isJsonObject } from './json.ts';
import type { Architecture } from './architecture.ts';
import type { ModelType } from './config-refusals.ts';

/** Far above any published dense model, and low enough that rows × columns stays an exact number. */
const MAX_LAYERS = 1024;
const MAX_INTERMEDIATE_SIZE = 1 << 20;
const MAX_HEADS = 1024;
const MAX_HEAD_DIM = 1024;
const MAX_VOCAB_SIZE = 1 << 22;

const sizesSchema = v.object({
  num_hidden_layers: size(MAX_LAYERS),
  hidden_size: size(MAX_HIDDEN_SIZE),
  intermediate_size: size(MAX_INTERMEDIATE_SIZE),
  num_attention_heads: size(MAX_HEADS),
  num_key_value_heads: v.nullish(size(MAX_HEADS)),
  head_dim: v.nullish(size(MAX_HEAD_DIM)),
  vocab_size: size(MAX_VOCAB_SIZE),
  max_position_embeddings: size(Number.MAX_SAFE_INTEGER),
  rms_norm_eps: positive,
  tie_word_embeddings: v.nullish(flag),
});
type Sizes = v.InferOutput<typeof sizesSchema>;

/**
 * Reads a Hugging Face config.json.
 * @param file how messages call it.
 * @throws SkeinError `model-unsupported` naming the field the engine does not honour, `model-corrupt` for one that is missing or senseless.
 */
export function parseArchitecture(configJson: unknown, file: string): Architecture {
  if (!isJsonObject(configJson)) throw corrupt(file, 'config', show(configJson), 'a JSON object');
  const modelType = identifyModelType(configJson, file);
  const sizes = parseFields(sizesSchema, configJson, file);
  return {
    family: modelType.family,
    layerCount: sizes.num_hidden_layers,
    hiddenSize: sizes.hidden_size,
    intermediateSize: sizes.intermediate_size,
    headCount: sizes.num_attention_heads,
    kvHeadCount: kvHeadCount(sizes, modelType, file),
    headDim: headDim(sizes, file),
    vocabSize: sizes.vocab_size,
    rmsNormEpsilon: sizes.rms_norm_eps,
    ...parseRope(configJson, file),
    qkvBias: modelType.family === 'qwen2',
    qkNorm: modelType.family === 'qwen3',
    slidingWindow: parseSlidingWindow(configJson, modelType.name, sizes.num_hidden_layers, file),
    tiedEmbedding: sizes.tie_word_embeddings ?? false,
    contextLength: Math.min(sizes.max_position_embeddings, MAX_SEQUENCE_TOKENS),
  };
}

function kvHeadCount(sizes: Sizes, modelType: ModelType, file: string): number {
  const heads = sizes.num_attention_heads;
  const kvHeads = sizes.num_key_value_heads ?? (modelType.name === 'llama' ? heads : undefined);
  if (kvHeads === undefined) {
    // Each class of transformers has a default of its own here; none of them is a safe guess.
    throw corrupt(file, 'num_key_value_heads', show(sizes.num_key_value_heads), 'a whole number');
  }
  if (heads % kvHeads !== 0) {
    throw unsupported(file, 'num_key_value_heads', kvHeads, `a divisor of num_attention_heads (${heads})`);
  }
  return kvHeads;
}

function headDim(sizes: Sizes, file: string): number {
  const { hidden_size: hiddenSize, num_attention_heads: headCount } = sizes;
  const dim = sizes.head_dim ?? hiddenSize / headCount;
  if (!Number.isInteger(dim)) {
    throw unsupported(file, 'num_attention_heads', headCount, `a divisor of hidden_size (${hiddenSize})`);
  }
  if (dim % 2 !== 0) throw unsupported(file, 'head_dim', dim, 'even, because rotary positions turn pairs');
  return dim;
}
