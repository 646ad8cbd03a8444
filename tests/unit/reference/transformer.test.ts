import { describe, expect, it } from 'vitest';
import {
  causalAttention,
  project,
  referenceForward,
  rmsNorm,
  rotate,
  softmax,
} from '../../reference/transformer.ts';
import { loadReferenceWeights } from '../../reference/load-weights.ts';
import { openCheckpoint } from '../../../src/model/open-checkpoint.ts';
import { TINY_LLAMA, TINY_QWEN2, TINY_QWEN3 } from '../../fixtures/architectures.ts';
import { configJson } from '../../fixtures/config-json.ts';
import { MemorySource } from '../../fixtures/memory-source.ts';
import { randomTensors } from '../../fixtures/random-model.ts';
import { safetensorsFile } from '../../fixtures/safetensors-file.ts';
import type { Architecture } from '../../../src/model/architecture.ts';
import type { ReferenceWeights } from '../../reference/transformer.ts';

const close = (values: readonly number[]) => values.map((value) => expect.closeTo(value, 12) as number);

describe('the parts of the reference transformer, by hand', () => {
  it('normalises each group by its root mean square', () => {
    const normed = rmsNorm(Float64Array.of(3, 4, 0, 2), Float64Array.of(1, 10), 0.5);
    const first = Math.sqrt(12.5 + 0.5);
    const second = Math.sqrt(2 + 0.5);
    expect([...normed]).toEqual(close([3 / first, 40 / first, 0, 20 / second]));
  });

  it('projects rows by a matrix [out, in]', () => {
    const projection = { weight: Float64Array.of(1, 2, 3, 4, 5, 6), bias: Float64Array.of(100, 0, -1) };
    expect([...project(Float64Array.of(1, 10, 0, 1), projection, 2)]).toEqual([121, 43, 64, 102, 4, 5]);
  });

  it('turns the pair (i, i + half) by position × frequency', () => {
    const heads = Float64Array.of(1, 2, 3, 4, 1, 2, 3, 4);
    rotate(heads, 4, 1, Float64Array.of(Math.PI / 2, Math.PI));
    expect([...heads]).toEqual(close([1, 2, 3, 4, -3, -2, 1, -4]));
  });

  it('turns all heads of a token by the same angle', () => {
    const heads = Float64Array.of(1, 0, 2, 0, 3, 0, 4, 0);
    rotate(heads, 2, 2, Float64Array.of(Math.PI / 2));
    expect([...heads]).toEqual(close([1, 0, 2, 0, 0, 3, 0, 4]));
  });

  it('weighs by softmax, however large the scores', () => {
    expect([...softmax(Float64Array.of(1000, 1000 + Math.log(3)))]).toEqual(close([0.25, 0.75]));
  });

  // Two tokens, four query heads over two key-value heads of width 1. Query heads 0, 1 use the first; 2, 3 the second.
  it('attends to the past, through the key-value head of the group', () => {
    const architecture = { ...TINY_QWEN3, headCount: 4, kvHeadCount: 2, headDim: 1 };
    const queries = Float64Array.of(9, 9, 9, 9, 0, 1, 0, 1);
    const keys = Float64Array.of(0, 0, Math.log(3), Math.log(7));
    const values = Float64Array.of(4, 8, 0, 16);
    expect([...causalAttention(architecture, queries, keys, values)]).toEqual(
      close([4, 4, 8, 8, 2, 1, 12, 15]),
    );
  });
});

describe('the reference transformer on random models', () => {
  const load = async (architecture: Architecture): Promise<ReferenceWeights> => {
    const weights = safetensorsFile(randomTensors({ architecture, format: 'f32' }));
    const source = new MemorySource({
      'config.json': configJson(architecture),
      'model.safetensors': weights,
    });
    return loadReferenceWeights(await openCheckpoint(source));
  };
  const ids = [5, 3, 96, 0, 5, 11];

  it.each([TINY_LLAMA, TINY_QWEN2, TINY_QWEN3])('does not look ahead ($family)', async (architecture) => {
    const weights = await load(architecture);
    const { logits } = referenceForward(weights, ids);
    const shorter = referenceForward(weights, ids.slice(0, 4)).logits;
    expect(logits).toHaveLength(ids.length * architecture.vocabSize);
    expect(logits.every(Number.isFinite)).toBe(true);
    expect(logits.subarray(0, shorter.length)).toEqual(shorter);
  });

  /** Largest difference that leaving a part out makes to the logits. */
  const effectOf = (whole: ReferenceWeights, changed: ReferenceWeights): number => {
    const { logits } = referenceForward(whole, ids);
    const other = referenceForward(changed, ids).logits;
    return Math.max(...logits.map((value, index) => Math.abs(value - (other[index] ?? NaN))));
  };

  it('uses the biases of Qwen2', async () => {
    const weights = await load(TINY_QWEN2);
    for (const part of ['query', 'key', 'value'] as const) {
      const layers = weights.layers.map((layer) => ({ ...layer, [part]: { ...layer[part], bias: null } }));
      expect(effectOf(weights, { ...weights, layers })).toBeGreaterThan(0.01);
    }
  });

  it('uses the head norms of Qwen3', async () => {
    const weights = await load(TINY_QWEN3);
    for (const part of ['queryNorm', 'keyNorm'] as const) {
      const layers = weights.layers.map((layer) => ({ ...layer, [part]: null }));
      expect(effectOf(weights, { ...weights, layers })).toBeGreaterThan(0.01);
    }
  });

  it('uses a head of its own, and the embedding when tied', async () => {
    const separate = await load(TINY_LLAMA);
    const tied = await load({ ...TINY_LLAMA, tiedEmbedding: true });
    expect(effectOf(separate, { ...separate, head: separate.embedding })).toBeGreaterThan(0.01);
    expect(tied.head).toBe(tied.embedding);
  });

  it('stretches the rotation of Llama 3', async () => {
    const weights = await load(TINY_LLAMA);
    const architecture = { ...TINY_LLAMA, ropeScaling: null };
    expect(effectOf(weights, { ...weights, architecture })).toBeGreaterThan(0.01);
  });

  it('refuses a token outside the vocabulary', async () => {
    const weights = await load(TINY_QWEN2);
    expect(() => referenceForward(weights, [97])).toThrow(RangeError);
  });
});
