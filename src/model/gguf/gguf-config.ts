import type { Architecture } from '../architecture.ts';
import { corrupt, show, unsupported } from '../config-errors.ts';
import { parseArchitecture } from '../config.ts';
import type { GgufHeader } from './gguf-header.ts';
import { ggufWindow } from './gguf-window.ts';

const ARCHITECTURES = ['llama', 'qwen2', 'qwen3'];

/** Metadata of the architecture that must be absent or have this value: all else changes the arithmetic. */
const NEUTRAL: readonly (readonly [key: string, neutral: unknown])[] = [
  ['expert_count', 0],
  ['rope.scaling.type', 'none'],
  ['attention.logit_softcapping', 0],
  ['final_logit_softcapping', 0],
  ['attention.scale', 0],
  ['embedding_scale', 0],
  ['residual_scale', 0],
  ['logit_scale', 0],
];

/**
 * The architecture in the metadata of a GGUF file, which passes the same checks as a config.json: it is turned into one.
 * @param ropeFactors of `rope_freqs.weight`, by which frequencies are divided; null without.
 * @throws SkeinError `model-unsupported` or `model-corrupt`, naming the key.
 */
export function ggufArchitecture(
  { metadata, tensors }: GgufHeader,
  ropeFactors: Float32Array | null,
  file: string,
): Architecture {
  const family = metadata.get('general.architecture');
  if (typeof family !== 'string' || !ARCHITECTURES.includes(family)) {
    const known = ARCHITECTURES.map((name) => `"${name}"`).join(', ');
    throw unsupported(file, 'general.architecture', family, `one of ${known}`);
  }
  const splitCount = metadata.get('split.count') ?? 1;
  if (splitCount !== 0 && splitCount !== 1) {
    throw unsupported(file, 'split.count', splitCount, '1; join the parts with llama-gguf-split --merge');
  }
  const value = (key: string) => metadata.get(`${family}.${key}`);
  for (const [key, neutral] of NEUTRAL) {
    if (value(key) !== undefined && value(key) !== neutral) {
      throw unsupported(file, `${family}.${key}`, value(key), 'absent');
    }
  }
  const headCount = value('attention.head_count');
  const headDim = value('attention.key_length') ?? Number(value('embedding_length')) / Number(headCount);
  for (const key of ['attention.value_length', 'rope.dimension_count']) {
    const dim = value(key) ?? headDim;
    if (dim !== headDim) throw unsupported(file, `${family}.${key}`, dim, `the head width, ${show(headDim)}`);
  }
  const theta = value('rope.freq_base') ?? 10_000;
  const has = (name: string) => tensors.has(name);
  const architecture = parseArchitecture(
    {
      model_type: family,
      num_hidden_layers: value('block_count'),
      hidden_size: value('embedding_length'),
      intermediate_size: value('feed_forward_length'),
      num_attention_heads: headCount,
      num_key_value_heads: value('attention.head_count_kv') ?? headCount,
      head_dim: headDim,
      vocab_size: tensors.get('token_embd.weight')?.shape[0],
      max_position_embeddings: value('context_length'),
      rms_norm_eps: roundToFloat(value('attention.layer_norm_rms_epsilon')),
      rope_theta: theta,
      rope_scaling: ropeFactors && ropeScaling(ropeFactors, Number(theta), file),
      tie_word_embeddings: !has('output.weight'),
      attention_bias: has('blk.0.attn_output.bias') || (family !== 'qwen2' && has('blk.0.attn_q.bias')),
      mlp_bias: has('blk.0.ffn_gate.bias') || has('blk.0.ffn_up.bias') || has('blk.0.ffn_down.bias'),
    },
    file,
  );
  // A config.json has it in other terms for every family.
  return { ...architecture, slidingWindow: ggufWindow(metadata, family, architecture.layerCount, file) };
}

/** Metadata has f32: 1e-6 comes as 9.999999974752427e-7, and would be another epsilon than in the config.json it was made from. */
function roundToFloat(value: unknown): unknown {
  return typeof value === 'number' ? Number(value.toPrecision(7)) : value;
}

/** What every Llama since 3.1 has; they differ in the factor. */
const LLAMA3 = {
  rope_type: 'llama3',
  low_freq_factor: 1,
  high_freq_factor: 4,
  original_max_position_embeddings: 8192,
};
const FACTOR_TOLERANCE = 1e-4;

/**
 * GGUF has the outcome of Llama 3's scaling and not its settings: they are the known ones if those give the same factors.
 * @throws SkeinError `model-unsupported` for other factors.
 */
function ropeScaling(factors: Float32Array, theta: number, file: string): object {
  const factor = factors.reduce((a, b) => Math.max(a, b), 1);
  const isLlama3 = factors.every((found, pair) => {
    const frequency = theta ** (-pair / factors.length);
    const turns = (LLAMA3.original_max_position_embeddings * frequency) / (2 * Math.PI);
    const kept = Math.min(
      1,
      Math.max(0, (turns - LLAMA3.low_freq_factor) / (LLAMA3.high_freq_factor - LLAMA3.low_freq_factor)),
    );
    const expected = 1 / (kept + (1 - kept) / factor);
    return Math.abs(found - expected) <= FACTOR_TOLERANCE * expected;
  });
  if (!isLlama3) {
    throw unsupported(
      file,
      'rope_freqs.weight',
      `${factors.length} factors`,
      'absent, or as in Llama 3.1 and later',
    );
  }
  return { ...LLAMA3, factor };
}

/** @throws SkeinError `model-corrupt` for factors of another number than the pairs of a head. */
export function checkRopeFactors(factors: Float32Array, file: string): Float32Array {
  if (factors.length > 0 && factors.every((factor) => Number.isFinite(factor) && factor > 0)) return factors;
  throw corrupt(file, 'rope_freqs.weight', `${factors.length} numbers`, 'positive numbers');
}
