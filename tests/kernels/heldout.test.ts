import { beforeAll, expect, it } from 'vitest';
import { BLOCK_TOKENS } from '../../src/engine/batch.ts';
import { GpuSlice } from '../../src/engine/gpu-slice.ts';
import { openSkeinTiny } from './skein-tiny.ts';
import type { SkeinTiny } from './skein-tiny.ts';

/** golden.py looks at the first 512 tokens of each text. */
const WINDOW_TOKENS = 512;

let tiny: SkeinTiny;
beforeAll(async () => {
  tiny = await openSkeinTiny();
});

it('held-out mean negative log-likelihood is within 1e-3 of the other implementation', async () => {
  const { checkpoint, tokenizer, golden, gpu } = tiny;
  const { layerCount, vocabSize } = checkpoint.architecture;
  const slice = await GpuSlice.load({
    device: gpu.engine,
    checkpoint,
    slice: { layerStart: 0, layerEnd: layerCount },
    precision: 'f32',
    cacheTokens: WINDOW_TOKENS,
  });
  const blockTable = Array.from({ length: WINDOW_TOKENS / BLOCK_TOKENS }, (_, block) => block);
  let negativeLogLikelihood = 0;
  let tokens = 0;
  for (const text of golden.heldout.texts) {
    const ids = tokenizer.encode(text).slice(0, WINDOW_TOKENS);
    for (let start = 0; start < ids.length; start += slice.maxBatchRows) {
      const chunk = ids.slice(start, start + slice.maxBatchRows);
      const result = await slice.forward({
        sequences: [{ rowCount: chunk.length, cacheLength: start, blockTable, head: { kind: 'logits' } }],
        input: { kind: 'tokens', tokenIds: Uint32Array.from(chunk) },
      });
      const [logits] = result.sequences;
      if (logits?.kind !== 'logits') throw new Error('the head gave no logits');
      chunk.forEach((_, row) => {
        const target = ids[start + row + 1];
        if (target === undefined) return;
        const scores = logits.values.subarray(row * vocabSize, (row + 1) * vocabSize);
        negativeLogLikelihood -= logProbability(scores, target);
        tokens += 1;
      });
    }
  }
  slice.dispose();
  expect(tokens).toBe(golden.heldout.tokens);
  expect(Math.abs(negativeLogLikelihood / tokens - golden.heldout.mean_nll)).toBeLessThan(1e-3);
});

function logProbability(logits: Float32Array, target: number): number {
  const max = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const sum = logits.reduce((total, logit) => total + Math.exp(logit - max), 0);
  return (logits[target] ?? NaN) - max - Math.log(sum);
}
