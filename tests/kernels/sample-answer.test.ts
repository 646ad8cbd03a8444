import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LocalMesh } from '../../src/contributor/local-mesh.ts';
import { BLOCK_TOKENS } from '../../src/engine/batch.ts';
import { GpuSlice } from '../../src/engine/gpu-slice.ts';
import { sampling } from '../../src/protocol/sampling.ts';
import type { SamplingParams } from '../../src/protocol/sampling.ts';
import { answerEvents } from '../golden/answer.ts';
import type { TokenEvent } from '../golden/answer.ts';
import { asPrompt } from '../golden/golden-file.ts';
import {
  adjustedLogits,
  gumbelScores,
  largest,
  logProbabilities,
  mostProbable,
} from '../reference/sampling.ts';
import { openSkeinTiny } from './skein-tiny.ts';
import type { SkeinTiny } from './skein-tiny.ts';

const MAX_TOKENS = 40;
/** Logits of one pass over all rows against those of one pass per token: they agree to 1e-4 of their size, which is about 10. */
const LOGIT_TOLERANCE = 5e-3;

let tiny: SkeinTiny;
let mesh: LocalMesh;
let whole: GpuSlice;
beforeAll(async () => {
  tiny = await openSkeinTiny();
  mesh = await tiny.mesh({ cuts: [3, 5], wireFormat: 'f32' });
  whole = await GpuSlice.load({
    device: tiny.gpu.engine,
    checkpoint: tiny.checkpoint,
    slice: { layerStart: 0, layerEnd: tiny.checkpoint.architecture.layerCount },
    precision: 'f32',
    cacheTokens: 256,
  });
});
afterAll(() => {
  mesh.dispose();
  whole.dispose();
});

/** The unmodified logits that each token of an answer was sampled from, [tokens][vocab]. */
async function logitsOf(prompt: readonly number[], answer: readonly number[]): Promise<number[][]> {
  const ids = [...prompt, ...answer.slice(0, -1)];
  const blockTable = Array.from({ length: Math.ceil(ids.length / BLOCK_TOKENS) }, (_, block) => block);
  const { sequences } = await whole.forward({
    sequences: [{ rowCount: ids.length, cacheLength: 0, blockTable, head: { kind: 'logits' } }],
    input: { kind: 'tokens', tokenIds: Uint32Array.from(ids) },
  });
  const [result] = sequences;
  if (result?.kind !== 'logits') throw new Error('Logits were asked for.');
  return answer.map((_, index) => {
    const row = prompt.length - 1 + index;
    return [...result.values.subarray(row * whole.vocabSize, (row + 1) * whole.vocabSize)];
  });
}

async function checkAnswer(
  prompt: readonly number[],
  tokens: readonly TokenEvent[],
  params: SamplingParams,
): Promise<void> {
  const answer = tokens.map(({ tokenId }) => tokenId);
  const rows = await logitsOf(prompt, answer);
  tokens.forEach(({ tokenId, logProbability, topLogProbabilities }, index) => {
    const logits = rows[index] ?? [];
    const generated = answer.slice(0, index);
    const adjusted = adjustedLogits(logits, params, {
      prompt,
      generated,
      stopTokenIds: tiny.tokenizer.stopTokenIds,
    });
    const scores =
      params.temperature === 0 ? adjusted : gumbelScores(adjusted, params, prompt.length + index);
    expect(scores[tokenId], `token ${index}`).toBeGreaterThan(largest(scores) - LOGIT_TOLERANCE);
    const expected = logProbabilities(logits);
    expect(Math.abs(logProbability - (expected[tokenId] ?? NaN))).toBeLessThan(LOGIT_TOLERANCE);
    expect(topLogProbabilities).toHaveLength(params.topLogProbabilities);
    mostProbable(logits, params.topLogProbabilities).forEach((id, rank) => {
      const reported = topLogProbabilities[rank]?.logProbability ?? NaN;
      expect(Math.abs(reported - (expected[id] ?? NaN))).toBeLessThan(LOGIT_TOLERANCE);
    });
  });
}

describe('an answer over three stages is sampled as the definition says', () => {
  it.each<[string, Partial<SamplingParams>]>([
    ['a repetition penalty', { repetitionPenalty: 1.3, topLogProbabilities: 5 }],
    ['presence and frequency penalties', { presencePenalty: 1.5, frequencyPenalty: 0.7 }],
    ['rewarded repetition', { frequencyPenalty: -0.5, minTokens: MAX_TOKENS }],
    [
      'a draw with all of it',
      {
        temperature: 0.9,
        seed: 5,
        repetitionPenalty: 1.1,
        presencePenalty: 0.5,
        frequencyPenalty: 0.2,
        topLogProbabilities: 20,
        minTokens: 12,
      },
    ],
  ])('%s', async (_, changes) => {
    const params = sampling(changes);
    for (const { prompt_ids: prompt } of tiny.golden.cases.slice(0, 3)) {
      const tokens = await answerEvents(mesh, tiny.tokenizer, asPrompt(prompt), MAX_TOKENS, params);
      await checkAnswer(prompt, tokens, params);
    }
  });

  it('no stop token before the least length, and the first one after it ends the answer', async () => {
    const short = tiny.golden.cases.filter(({ greedy_ids }) => greedy_ids.length < 12).slice(0, 3);
    expect(short).toHaveLength(3);
    const params = sampling({ minTokens: 20 });
    for (const { prompt_ids: prompt, greedy_ids: unbound } of short) {
      const tokens = await answerEvents(mesh, tiny.tokenizer, asPrompt(prompt), MAX_TOKENS, params);
      const answer = tokens.map(({ tokenId }) => tokenId);
      expect(answer.slice(0, unbound.length - 1)).toEqual(unbound.slice(0, -1));
      const stops = answer.flatMap((id, index) => (tiny.tokenizer.stopTokenIds.includes(id) ? [index] : []));
      expect(answer.length).toBeGreaterThanOrEqual(20);
      expect(stops.every((index) => index >= 20 && index === answer.length - 1)).toBe(true);
      await checkAnswer(prompt, tokens, params);
    }
  });

  it('a ban takes the second best', async () => {
    const [first] = tiny.golden.cases;
    if (first === undefined) throw new Error('There are golden cases.');
    const prompt = asPrompt(first.prompt_ids);
    const top = sampling({ topLogProbabilities: 2 });
    const [unbound] = await answerEvents(mesh, tiny.tokenizer, prompt, 1, top);
    const [best, second] = unbound?.topLogProbabilities ?? [];
    if (best === undefined || second === undefined) throw new Error('Two tokens were asked for.');
    expect(unbound?.tokenId).toBe(best.tokenId);
    const banned = { ...top, logitBias: [[best.tokenId, -100]] as [number, number][] };
    const [next] = await answerEvents(mesh, tiny.tokenizer, prompt, 1, banned);
    expect(next?.tokenId).toBe(second.tokenId);
    expect(next?.logProbability).toBe(second.logProbability);
    expect(next?.topLogProbabilities).toEqual([best, second]);
  });

  it('refuses tokens that the model does not have, by name, and others go on', async () => {
    const [first] = tiny.golden.cases;
    if (first === undefined) throw new Error('There are golden cases.');
    const prompt = asPrompt(first.prompt_ids);
    const params = sampling({ logitBias: [[whole.vocabSize, 1]] });
    await expect(answerEvents(mesh, tiny.tokenizer, prompt, 5, params)).rejects.toThrow(
      /logitBias names token/,
    );
    const after = await answerEvents(mesh, tiny.tokenizer, prompt, 5, sampling({}));
    expect(after.map(({ tokenId }) => tokenId)).toEqual(first.greedy_ids.slice(0, 5));
  });
});
