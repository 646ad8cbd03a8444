import { describe, expect, it } from 'vitest';
import { parseArchitecture } from '../../../src/model/config.ts';
import {
  TINY_LLAMA,
  TINY_MISTRAL,
  TINY_QWEN2,
  TINY_QWEN2_WINDOWED,
  TINY_QWEN3,
} from '../../fixtures/architectures.ts';
import { configJson } from '../../fixtures/config-json.ts';
import { refusalOf } from '../../fixtures/errors.ts';

const llama = configJson(TINY_LLAMA);
const qwen2 = configJson(TINY_QWEN2);
const qwen3 = configJson(TINY_QWEN3);
const mistral = {
  ...llama,
  model_type: 'mistral',
  architectures: ['MistralForCausalLM'],
  sliding_window: null,
};

const parse = (config: unknown) => parseArchitecture(config, 'folder/config.json');
const without = (config: Record<string, unknown>, field: string) =>
  Object.fromEntries(Object.entries(config).filter(([name]) => name !== field));

describe('parseArchitecture', () => {
  it.each([TINY_LLAMA, TINY_QWEN2, TINY_QWEN3])('reads the config of a $family model', (architecture) => {
    expect(parse(configJson(architecture))).toEqual(architecture);
  });

  it('reads Mistral as the Llama it is', () => {
    expect(parse(mistral)).toEqual(TINY_LLAMA);
  });

  it('fills in what transformers leaves out', () => {
    const { kvHeadCount, headDim, ropeTheta, tiedEmbedding } = parse({
      ...llama,
      num_key_value_heads: undefined,
      head_dim: null,
      rope_theta: undefined,
      tie_word_embeddings: undefined,
      hidden_act: undefined,
      architectures: undefined,
    });
    expect({ kvHeadCount, headDim, ropeTheta, tiedEmbedding }).toEqual({
      kvHeadCount: 6,
      headDim: 8,
      ropeTheta: 10_000,
      tiedEmbedding: false,
    });
  });

  it('keeps a head width that is not hidden size over heads', () => {
    expect(parse({ ...qwen3, head_dim: 128 }).headDim).toBe(128);
  });

  it('caps the context at what a request may hold', () => {
    expect(parse({ ...llama, max_position_embeddings: 10 ** 9 }).contextLength).toBe(1024 * 1024);
  });
});

describe('sliding windows', () => {
  const windowed = { ...qwen2, use_sliding_window: true, sliding_window: 100 };
  const windowOf = (config: unknown) => parse(config).slidingWindow;

  it.each([TINY_MISTRAL, TINY_QWEN2_WINDOWED])('of a $family model', (architecture) => {
    expect(parse(configJson(architecture))).toEqual(architecture);
  });

  it('are in every layer of Mistral, of 4096 tokens when absent, and nowhere when null', () => {
    expect(windowOf(without(mistral, 'sliding_window'))).toEqual({ tokens: 4096, layers: [0, 1, 2] });
    expect(windowOf({ ...mistral, sliding_window: null })).toBeNull();
  });

  it('begin at max_window_layers of Qwen2 where no types are given', () => {
    expect(windowOf({ ...windowed, max_window_layers: 2 })).toEqual({ tokens: 100, layers: [2, 3] });
    expect(windowOf({ ...windowed, max_window_layers: 0 })).toEqual({ tokens: 100, layers: [0, 1, 2, 3] });
    // 28 when absent: more layers than this model has.
    expect(windowOf(windowed)).toBeNull();
    expect(windowOf({ ...windowed, max_window_layers: 2, use_sliding_window: false })).toBeNull();
  });

  it('are where layer_types says, whatever max_window_layers does', () => {
    const layer_types = ['full_attention', 'sliding_attention', 'full_attention', 'full_attention'];
    expect(windowOf({ ...windowed, max_window_layers: 3, layer_types })).toEqual({
      tokens: 100,
      layers: [1],
    });
  });

  it.each([
    ['sliding_window', { ...windowed, sliding_window: 0 }],
    ['sliding_window', { ...mistral, sliding_window: 'long' }],
    ['max_window_layers', { ...windowed, max_window_layers: -1 }],
  ])('of a senseless %s are refused', async (field, config) => {
    expect(await refusalOf(() => parse(config))).toMatchObject({ code: 'model-corrupt', data: { field } });
  });
});

describe('rotary settings', () => {
  const llama3 = llama['rope_scaling'] as object;

  it('reads the form of transformers 5', () => {
    const config = { ...without(llama, 'rope_theta'), rope_scaling: undefined };
    const rope_parameters = { rope_theta: 500_000, ...llama3 };
    expect(parse({ ...config, rope_parameters })).toEqual(TINY_LLAMA);
  });

  it('reads the older name of the type', () => {
    expect(parse({ ...qwen3, rope_scaling: { type: 'default' } }).ropeScaling).toBeNull();
    expect(parse({ ...llama, rope_scaling: { ...llama3, rope_type: undefined, type: 'llama3' } })).toEqual(
      TINY_LLAMA,
    );
  });

  it.each([
    ['rope_scaling.rope_type', { rope_scaling: { rope_type: 'yarn', factor: 4 } }],
    ['rope_scaling.rope_type', { rope_scaling: { type: 'linear', factor: 2 } }],
    ['rope_parameters.rope_type', { rope_scaling: null, rope_parameters: { rope_type: 'dynamic' } }],
    ['rope_parameters', { rope_scaling: null, rope_parameters: { full_attention: { rope_theta: 1e4 } } }],
    ['rope_scaling', { rope_scaling: 'llama3' }],
    [
      'rope_scaling.partial_rotary_factor',
      { rope_scaling: { rope_type: 'default', partial_rotary_factor: 0.5 } },
    ],
    ['rope_scaling.high_freq_factor', { rope_scaling: { ...llama3, high_freq_factor: 1 } }],
  ])('refuses %s it does not know', async (field, change) => {
    const refusal = await refusalOf(() => parse({ ...llama, ...change }));
    expect(refusal).toMatchObject({ code: 'model-unsupported', data: { field } });
  });

  it.each([
    ['rope_theta', { rope_theta: 0 }],
    ['rope_theta', { rope_theta: 'big' }],
    ['rope_scaling.factor', { rope_scaling: { ...llama3, factor: null } }],
    ['rope_scaling.low_freq_factor', { rope_scaling: without({ ...llama3 }, 'low_freq_factor') }],
    [
      'rope_scaling.original_max_position_embeddings',
      { rope_scaling: { ...llama3, original_max_position_embeddings: 0.5 } },
    ],
  ])('refuses a senseless %s', async (field, change) => {
    const refusal = await refusalOf(() => parse({ ...llama, ...change }));
    expect(refusal).toMatchObject({ code: 'model-corrupt', data: { field } });
  });
});

describe('what the engine does not do', () => {
  it.each([
    ['model_type', { ...llama, model_type: 'gemma2' }],
    ['model_type', { ...llama, model_type: undefined }],
    ['model_type', { ...llama, model_type: 'constructor' }],
    ['architectures', { ...qwen3, architectures: ['Qwen3ForSequenceClassification'] }],
    ['hidden_act', { ...llama, hidden_act: 'gelu' }],
    ['mlp_bias', { ...llama, mlp_bias: true }],
    ['attention_bias', { ...llama, attention_bias: true }],
    ['attention_bias', { ...qwen3, attention_bias: true }],
    ['partial_rotary_factor', { ...llama, partial_rotary_factor: 0.25 }],
    ['layer_types', { ...qwen3, layer_types: ['full_attention', 'sliding_attention', 'full_attention'] }],
    ['layer_types', { ...qwen2, use_sliding_window: true, layer_types: ['sliding_attention'] }],
    ['layer_types', { ...qwen2, use_sliding_window: true, layer_types: ['chunked_attention'] }],
    ['layer_types', { ...mistral, sliding_window: 8, layer_types: Array(3).fill('full_attention') }],
    ['sliding_window', { ...llama, sliding_window: 4096 }],
    ['use_sliding_window', { ...llama, use_sliding_window: true }],
    ['num_key_value_heads', { ...llama, num_key_value_heads: 4 }],
    ['head_dim', { ...llama, head_dim: 7 }],
    ['num_attention_heads', { ...qwen2, num_attention_heads: 7, num_key_value_heads: 7 }],
    ['vocab_size', { ...llama, vocab_size: 2 ** 40 }],
    ['hidden_size', { ...llama, hidden_size: 2 ** 40 }],
  ])('refuses %s by name and value', async (field, config) => {
    const refusal = await refusalOf(() => parse(config));
    expect(refusal).toMatchObject({ code: 'model-unsupported', data: { file: 'folder/config.json', field } });
    expect(refusal.message).toContain(`"${field}" is ${String(refusal.data['value'])}`);
  });

  it('does not mind switches that mean nothing to the family', () => {
    expect(parse({ ...qwen2, attention_bias: true })).toEqual(TINY_QWEN2);
    expect(parse({ ...qwen3, sliding_window: 131_072, layer_types: ['full_attention'] })).toEqual(TINY_QWEN3);
  });
});

describe('a config that makes no sense', () => {
  it.each(['a text', 7, null, [llama]])('refuses %j instead of an object', async (config) => {
    expect(await refusalOf(() => parse(config))).toMatchObject({ code: 'model-corrupt' });
  });

  const sizes = [
    'num_hidden_layers',
    'hidden_size',
    'intermediate_size',
    'num_attention_heads',
    'vocab_size',
    'max_position_embeddings',
    'rms_norm_eps',
  ];
  const wrong = [undefined, null, 0, -1, NaN, '8', true, [8], {}];
  it.each(sizes.flatMap((field) => wrong.map((value) => [field, value] as const)))(
    'refuses %s %j',
    async (field, value) => {
      const refusal = await refusalOf(() => parse({ ...llama, [field]: value }));
      expect(refusal).toMatchObject({ code: 'model-corrupt', data: { field } });
      expect(refusal.message).toContain(field);
    },
  );

  it.each(sizes)('refuses a config without %s', async (field) => {
    expect(await refusalOf(() => parse(without(llama, field)))).toMatchObject({
      code: 'model-corrupt',
      data: { field },
    });
  });

  it.each([
    ['num_key_value_heads', without(qwen3, 'num_key_value_heads')],
    ['num_key_value_heads', { ...llama, num_key_value_heads: 0 }],
    ['head_dim', { ...llama, head_dim: 8.5 }],
    ['tie_word_embeddings', { ...llama, tie_word_embeddings: 'no' }],
    ['num_hidden_layers', { ...llama, num_hidden_layers: 2.5 }],
  ])('refuses %s by name', async (field, config) => {
    expect(await refusalOf(() => parse(config))).toMatchObject({ code: 'model-corrupt', data: { field } });
  });
});
