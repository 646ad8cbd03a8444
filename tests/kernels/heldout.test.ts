import { beforeAll, describe, expect, it } from 'vitest';
import { BLOCK_TOKENS } from '../../src/engine/batch.ts';
import { GpuSlice } from '../../src/engine/gpu-slice.ts';
import type { CacheFormat } from '../../src/engine/kernels/attention-shape.ts';
import { quantizedCheckpoint } from '../../src/model/quantize.ts';
import type { Activations } from '../../src/protocol/activations.ts';
import type { Quantization } from '../../src/protocol/quantization.ts';
import { HELDOUT_WINDOW_TOKENS, logProbability } from '../reference/heldout.ts';
import type { NllSum } from '../reference/heldout.ts';
import { openSkeinTiny } from './skein-tiny.ts';
import type { SkeinTiny } from './skein-tiny.ts';

/** Of the 64 texts, those that the quantised runs read: enough for their bounds, and a quarter of the time. */
const QUANTIZED_TEXTS = 16;
/** Fewer, as their kernels are not those of the other runs and take the longer. */
const INT8_ACTIVATIONS_TEXTS = 3;

let tiny: SkeinTiny;
/** Of every text, with the weights as they are. */
let stored: readonly NllSum[];
beforeAll(async () => {
  tiny = await openSkeinTiny();
  stored = await heldout('none', tiny.golden.heldout.texts);
});

describe('held-out mean negative log-likelihood', () => {
  it('is within 1e-3 of the other implementation', () => {
    const { golden } = tiny;
    expect(stored.reduce((sum, { tokens }) => sum + tokens, 0)).toBe(golden.heldout.tokens);
    expect(Math.abs(mean(stored) - golden.heldout.mean_nll)).toBeLessThan(1e-3);
  });

  it.each([
    ['int8', 0.001],
    ['int4', 0.01],
  ] as const)('of matrices loaded as %s is within a share of %d of that', async (quantization, bound) => {
    const texts = tiny.golden.heldout.texts.slice(0, QUANTIZED_TEXTS);
    const quantized = mean(await heldout(quantization, texts));
    const expected = mean(stored.slice(0, QUANTIZED_TEXTS));
    expect(Math.abs(quantized / expected - 1)).toBeLessThan(bound);
    // Equal to the bit would mean that nothing was quantised.
    expect(quantized).not.toBe(expected);
  });

  it.each([
    ['int8', 0.001],
    ['int4', 0.01],
  ] as const)(
    'of matrices loaded as %s with int8 activations is within a share of %d of that',
    async (quantization, bound) => {
      const texts = tiny.golden.heldout.texts.slice(0, INT8_ACTIVATIONS_TEXTS);
      const rounded = mean(await heldout(quantization, texts, 'f32', 'int8'));
      const expected = mean(stored.slice(0, INT8_ACTIVATIONS_TEXTS));
      expect(Math.abs(rounded / expected - 1)).toBeLessThan(bound);
      // Equal to the bit would mean that the activations were not rounded.
      expect(rounded).not.toBe(mean(await heldout(quantization, texts)));
    },
  );

  it('with an int8 cache is within 1 % of that', async () => {
    const texts = tiny.golden.heldout.texts.slice(0, QUANTIZED_TEXTS);
    const quantized = mean(await heldout('none', texts, 'int8'));
    const expected = mean(stored.slice(0, QUANTIZED_TEXTS));
    expect(Math.abs(quantized / expected - 1)).toBeLessThan(0.01);
    expect(quantized).not.toBe(expected);
  });
});

async function heldout(
  quantization: Quantization,
  texts: readonly string[],
  cacheFormat: CacheFormat = 'f32',
  activations: Activations = 'f32',
): Promise<NllSum[]> {
  const { tokenizer, gpu } = tiny;
  const checkpoint = quantizedCheckpoint(tiny.checkpoint, quantization);
  const slice = await GpuSlice.load({
    device: gpu.engine,
    checkpoint,
    slice: { layerStart: 0, layerEnd: checkpoint.architecture.layerCount },
    precision: 'f32',
    cacheFormat,
    activations,
    cacheTokens: HELDOUT_WINDOW_TOKENS,
  });
  try {
    const sums: NllSum[] = [];
    for (const text of texts) {
      sums.push(await textNll(slice, tokenizer.encode(text).slice(0, HELDOUT_WINDOW_TOKENS)));
    }
    return sums;
  } finally {
    slice.dispose();
  }
}

async function textNll(slice: GpuSlice, ids: readonly number[]): Promise<NllSum> {
  const { vocabSize, maxBatchRows } = slice;
  const blockTable = Array.from({ length: HELDOUT_WINDOW_TOKENS / BLOCK_TOKENS }, (_, block) => block);
  let negativeLogLikelihood = 0;
  for (let start = 0; start < ids.length; start += maxBatchRows) {
    const chunk = ids.slice(start, start + maxBatchRows);
    const result = await slice.forward({
      sequences: [{ rowCount: chunk.length, cacheLength: start, blockTable, head: { kind: 'logits' } }],
      input: { kind: 'tokens', tokenIds: Uint32Array.from(chunk) },
    });
    const [logits] = result.sequences;
    if (logits?.kind !== 'logits') throw new Error('the head gave no logits');
    chunk.forEach((_, row) => {
      const target = ids[start + row + 1];
      if (target === undefined) return;
      negativeLogLikelihood -= logProbability(
        logits.values.subarray(row * vocabSize, (row + 1) * vocabSize),
        target,
      );
    });
  }
  return { negativeLogLikelihood, tokens: ids.length - 1 };
}

function mean(sums: readonly NllSum[]): number {
  const total = sums.reduce((sum, { negativeLogLikelihood }) => sum + negativeLogLikelihood, 0);
  return total / sums.reduce((sum, { tokens }) => sum + tokens, 0);
}
