import { describe, expect, it } from 'vitest';
import { FolderSource } from '../../../src/model/folder-source.ts';
import { openCheckpoint } from '../../../src/model/open-checkpoint.ts';
import { readSafetensorsHeader } from '../../../src/model/safetensors.ts';
import { headTensorName, sliceTensors } from '../../../src/model/tensor-names.ts';
import { TINY_LLAMA, TINY_QWEN2, TINY_QWEN3 } from '../../fixtures/architectures.ts';
import type { Architecture } from '../../../src/model/architecture.ts';

const namesOf = (architecture: Architecture, layerStart: number, layerEnd: number): string[] =>
  sliceTensors(architecture, { layerStart, layerEnd }).map(({ name }) => name);
const outsideLayers = (names: string[]): string[] =>
  names.filter((name) => !name.startsWith('model.layers.'));

describe('sliceTensors', () => {
  it('lists every tensor of skein-tiny with its shape, and no other', async () => {
    const source = new FolderSource('public/models/skein-tiny');
    const { architecture } = await openCheckpoint(source);
    const header = (await readSafetensorsHeader(source, 'model.safetensors')) ?? new Map<string, never>();
    const stored = [...header].map(([name, { shape }]) => ({ name, shape }));
    const listed = sliceTensors(architecture, { layerStart: 0, layerEnd: architecture.layerCount });
    const byName = (a: { name: string }, b: { name: string }) => (a.name < b.name ? -1 : 1);
    expect(listed.sort(byName)).toEqual(stored.sort(byName));
  });

  it('gives the embedding to the first slice, norm and head to the last', () => {
    expect(outsideLayers(namesOf(TINY_LLAMA, 0, 1))).toEqual(['model.embed_tokens.weight']);
    expect(outsideLayers(namesOf(TINY_LLAMA, 1, 2))).toEqual([]);
    expect(outsideLayers(namesOf(TINY_LLAMA, 2, 3))).toEqual(['model.norm.weight', 'lm_head.weight']);
  });

  it('gives a tied embedding to both ends, and once to a slice that is both', () => {
    expect(outsideLayers(namesOf(TINY_QWEN2, 0, 1))).toEqual(['model.embed_tokens.weight']);
    expect(outsideLayers(namesOf(TINY_QWEN2, 3, 4))).toEqual([
      'model.norm.weight',
      'model.embed_tokens.weight',
    ]);
    expect(outsideLayers(namesOf(TINY_QWEN2, 0, 4))).toEqual([
      'model.embed_tokens.weight',
      'model.norm.weight',
    ]);
    expect(headTensorName(TINY_QWEN2)).toBe('model.embed_tokens.weight');
    expect(headTensorName(TINY_QWEN3)).toBe('lm_head.weight');
  });

  it('lists each layer of the range', () => {
    const layers = namesOf(TINY_QWEN2, 1, 3).map((name) => /^model\.layers\.(\d+)\./.exec(name)?.[1]);
    expect(new Set(layers)).toEqual(new Set(['1', '2']));
    expect(layers).toHaveLength(2 * 12);
  });

  it('shapes projections [out, in], with biases for Qwen2 and head norms for Qwen3', () => {
    const shapes = (architecture: Architecture) =>
      Object.fromEntries(
        sliceTensors(architecture, { layerStart: 1, layerEnd: 2 }).map(({ name, shape }) => [
          name.replace('model.layers.1.', ''),
          shape,
        ]),
      );
    expect(shapes(TINY_QWEN2)).toEqual({
      'input_layernorm.weight': [40],
      'self_attn.q_proj.weight': [40, 40],
      'self_attn.q_proj.bias': [40],
      'self_attn.k_proj.weight': [8, 40],
      'self_attn.k_proj.bias': [8],
      'self_attn.v_proj.weight': [8, 40],
      'self_attn.v_proj.bias': [8],
      'self_attn.o_proj.weight': [40, 40],
      'post_attention_layernorm.weight': [40],
      'mlp.gate_proj.weight': [72, 40],
      'mlp.up_proj.weight': [72, 40],
      'mlp.down_proj.weight': [40, 72],
    });
    expect(shapes(TINY_QWEN3)).toMatchObject({
      'self_attn.q_proj.weight': [48, 36],
      'self_attn.q_norm.weight': [12],
      'self_attn.k_norm.weight': [12],
      'self_attn.o_proj.weight': [36, 48],
    });
  });
});
