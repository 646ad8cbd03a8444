import fc from 'fast-check';
import { beforeAll, describe, expect, test, vi } from 'vitest';
import { GpuMemory } from '../../src/engine/gpu-memory.ts';
import { KernelCompiler } from '../../src/engine/kernel.ts';
import { isGreedy } from '../../src/engine/kernels/sample-rows.ts';
import type { SampledToken, SampleRow } from '../../src/engine/kernels/sample-rows.ts';
import { Sampler } from '../../src/engine/sampler.ts';
import { TokenHistory } from '../../src/engine/token-history.ts';
import { GREEDY, sampling } from '../../src/protocol/sampling.ts';
import type { SamplingParams } from '../../src/protocol/sampling.ts';
import {
  adjustedLogits,
  gumbelScores,
  largest,
  logProbabilities,
  lowestKept,
  maskedLogits,
  mostProbable,
} from '../reference/sampling.ts';
import type { SampledHistory } from '../reference/sampling.ts';
import { ONE_ROW, openTestGpu } from './gpu.ts';
import type { TestGpu } from './gpu.ts';
import { randomLogits, SamplerRig } from './sampler-rig.ts';

/** A sum of up to 2^18 positive f32 in parts, and a logarithm: relative error of the sum below 2^-24 · 2^10. */
const LOG_PROBABILITY_TOLERANCE = 1e-4;
/** Scores are of order 10 with relative error 1e-6; two tokens closer than this may change places. */
const SCORE_TOLERANCE = 1e-4;
/** Relative error of a mass or a share in f32: a threshold this close to a token may fall on either side of it. */
const SHARE_TOLERANCE = 2e-5;
/** Answers that are decided by less than the tolerances. */
const MAX_CLOSE_SHARE = 0.02;

interface Case {
  readonly logits: Float32Array;
  readonly params: SamplingParams;
  readonly history: SampledHistory;
  readonly mask: Uint32Array<ArrayBuffer> | null;
}

const fraction = (min: number, max: number) => fc.double({ min, max, noNaN: true });
const orOff = <Value>(off: Value, on: fc.Arbitrary<Value>) =>
  fc.oneof({ weight: 1, arbitrary: fc.constant(off) }, { weight: 1, arbitrary: on });

/** Everything crossed: each feature is off half of the time. */
function anyCase(vocabSize: number, maxHistory: number): fc.Arbitrary<Case> {
  const id = fc.nat(vocabSize - 1);
  const params: fc.Arbitrary<SamplingParams> = fc.record({
    temperature: fc.oneof(
      { weight: 1, arbitrary: fc.constant(0) },
      { weight: 4, arbitrary: fraction(0.05, 5) },
    ),
    topK: orOff(0, fc.oneof(fc.integer({ min: 1, max: 50 }), fc.integer({ min: 1, max: vocabSize }))),
    topP: orOff(1, fraction(0.01, 0.9999)),
    minP: orOff(0, fc.oneof(fraction(1e-6, 0.1), fraction(0.1, 1))),
    repetitionPenalty: orOff(1, fraction(0.5, 2)),
    presencePenalty: orOff(0, fraction(-2, 2)),
    frequencyPenalty: orOff(0, fraction(-2, 2)),
    logitBias: orOff(
      [],
      fc.uniqueArray(fc.tuple(id, fc.oneof(fraction(-10, 10), fc.constantFrom(-100, 100))), {
        maxLength: 6,
        selector: ([token]) => token,
      }),
    ),
    topLogProbabilities: orOff(0, fc.integer({ min: 1, max: 20 })),
    minTokens: orOff(0, fc.nat(2 * maxHistory)),
    seed: fc.nat(0xffff_ffff),
  });
  const history = fc.record({
    prompt: fc.array(id, { maxLength: maxHistory, size: 'max' }),
    generated: fc.array(id, { maxLength: maxHistory, size: 'max' }),
    stopTokenIds: fc.array(id, { maxLength: 3 }),
  });
  const logits = fc
    .tuple(fc.nat(0xffff_ffff), fraction(0.5, 6), fc.constantFrom('plain', 'tied', 'masked', 'peaked'))
    .map(([seed, spread, kind]) => shapeLogits(randomLogits(vocabSize, seed, spread), kind));
  const mask = orOff(
    null,
    fc
      .tuple(fc.nat(0xffff_ffff), fc.constantFrom(0.001, 0.1, 0.5, 0.99))
      .map(([seed, share]) => randomMask(vocabSize, seed, share)),
  );
  return fc.record({ logits, params, history, mask }).filter((candidate) => isPossible(candidate, vocabSize));
}

function shapeLogits(logits: Float32Array, kind: string): Float32Array {
  switch (kind) {
    case 'tied':
      return logits.map(Math.round);
    case 'masked':
      return logits.map((logit, index) => (index % 3 === 1 ? -Infinity : logit));
    case 'peaked':
      return logits.map((logit, index) => (index === logits.length >> 1 ? logit + 20 : logit));
    default:
      return logits;
  }
}

/** Every token with the same chance, and one at least. What is beyond the vocabulary is never to be chosen. */
function randomMask(vocabSize: number, seed: number, share: number): Uint32Array<ArrayBuffer> {
  const mask = new Uint32Array(Math.ceil(vocabSize / 32));
  const uniform = randomLogits(vocabSize, seed).map((normal) => 1 / (1 + Math.exp(-1.7 * normal)));
  const chosen = [seed % vocabSize, ...Array.from({ length: vocabSize }, (_, id) => id)];
  chosen.forEach((id, index) => {
    if (index === 0 || (uniform[id] ?? 1) < share) mask[id >> 5] = (mask[id >> 5] ?? 0) | (1 << (id & 31));
  });
  if (vocabSize % 32 > 0) mask[mask.length - 1] = (mask.at(-1) ?? 0) | (-1 << (vocabSize % 32));
  return mask;
}

/** Something must be left to choose from, from the first token of the answer on. */
function isPossible({ logits, params, history, mask }: Case, vocabSize: number): boolean {
  const atFirst = adjustedLogits(logits, params, { ...history, generated: [] });
  if (vocabSize <= 20 && largest(atFirst) === -Infinity) return false;
  return mask === null || largest(maskedLogits(adjustedLogits(logits, params, history), mask)) > -Infinity;
}

function rowOf({ params, history, mask }: Case, headRow: number, vocabSize: number): SampleRow {
  const { prompt, generated, stopTokenIds } = history;
  const promptTokens = prompt.length + 1;
  const counts = new TokenHistory(
    {
      promptTokens,
      stopTokenIds: [...stopTokenIds],
      sampling: params,
      history: { prompt: [...new Set(prompt)], generated: [] },
    },
    vocabSize,
  );
  generated.forEach((token, index) => counts.add(promptTokens + index, token));
  const position = promptTokens + generated.length;
  const adjustments = counts.adjustmentsAt(position).slice();
  return { headRow, position, params, adjustments, ...(mask && { mask }) };
}

/** @returns whether it is exactly the reference's token, and not only as good. */
function checkToken(
  { logits, params, history, mask }: Case,
  { tokenId }: SampledToken,
  position: number,
): boolean {
  const adjusted = maskedLogits(adjustedLogits(logits, params, history), mask);
  expect(adjusted[tokenId], `token ${tokenId}`).toBeGreaterThan(-Infinity);
  const highest = largest(adjusted);
  if (isGreedy(params)) {
    // Only the repetition penalty divides, which GPUs round as they like.
    if (params.repetitionPenalty === 1) expect(tokenId).toBe(adjusted.indexOf(highest));
    else expect(adjusted[tokenId]).toBeGreaterThan(highest - SCORE_TOLERANCE * (1 + Math.abs(highest)));
    return tokenId === adjusted.indexOf(highest);
  }
  const shifted = (sign: number): SamplingParams => ({
    ...params,
    topP: params.topP < 1 ? Math.min(1, params.topP * (1 + sign * SHARE_TOLERANCE)) : 1,
    minP: params.minP * (1 - sign * SHARE_TOLERANCE),
  });
  const loose = Math.min(lowestKept(adjusted, shifted(1)), highest);
  const strict = Math.min(lowestKept(adjusted, shifted(-1)), highest);
  const scores = gumbelScores(adjusted, params, position, loose);
  const strictScores = scores.map((score, id) => ((adjusted[id] ?? NaN) >= strict ? score : -Infinity));
  const best = largest(scores);
  const strictBest = largest(strictScores);
  const isAsGood =
    (scores[tokenId] ?? NaN) > best - SCORE_TOLERANCE ||
    (strictScores[tokenId] ?? NaN) > strictBest - SCORE_TOLERANCE;
  expect(isAsGood, `token ${tokenId} has ${String(scores[tokenId])} of ${best}, strict ${strictBest}`).toBe(
    true,
  );
  return tokenId === scores.indexOf(best);
}

function checkLogProbabilities({ logits, params }: Case, token: SampledToken): void {
  const expected = logProbabilities(logits);
  const check = ({ tokenId, logProbability }: { tokenId: number; logProbability: number }) =>
    expect(Math.abs(logProbability - (expected[tokenId] ?? NaN))).toBeLessThan(LOG_PROBABILITY_TOLERANCE);
  check(token);
  const top = mostProbable(logits, params.topLogProbabilities).filter((id) => logits[id] !== -Infinity);
  expect(token.topLogProbabilities.map(({ tokenId }) => tokenId)).toEqual(top);
  token.topLogProbabilities.forEach(check);
}

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});

describe('all of sampling at once', () => {
  test.each([
    { vocabSize: 1, passes: 2, rows: 32, maxHistory: 2, layout: 'of the adapter' },
    { vocabSize: 31, passes: 16, rows: 32, maxHistory: 10, layout: 'of the adapter' },
    { vocabSize: 33, passes: 16, rows: 32, maxHistory: 10, layout: 'of the adapter' },
    { vocabSize: 63, passes: 32, rows: 32, maxHistory: 40, layout: 'of the adapter' },
    { vocabSize: 257, passes: 32, rows: 32, maxHistory: 40, layout: 'of the adapter' },
    { vocabSize: 2048, passes: 10, rows: 32, maxHistory: 40, layout: 'of the adapter' },
    { vocabSize: 5001, passes: 5, rows: 32, maxHistory: 400, layout: 'of the adapter' },
    { vocabSize: 20_011, passes: 2, rows: 32, maxHistory: 40, layout: 'of the adapter' },
    { vocabSize: 151_936, passes: 4, rows: 8, maxHistory: 40, layout: 'of the adapter' },
    { vocabSize: 257, passes: 8, rows: 32, maxHistory: 40, layout: 'of a GPU' },
    { vocabSize: 20_011, passes: 2, rows: 32, maxHistory: 40, layout: 'of a GPU' },
  ])(
    'gives the tokens of the reference: $passes × $rows rows, vocabulary $vocabSize, layout $layout',
    async ({ vocabSize, passes, rows, maxHistory, layout }) => {
      const cases = fc.sample(anyCase(vocabSize, maxHistory), { numRuns: passes * rows, seed: vocabSize });
      const { device, tuning } = gpu.compiler;
      const compiler =
        layout === 'of the adapter'
          ? gpu.compiler
          : new KernelCompiler(device, { ...tuning, isSoftware: false });
      const rig = await SamplerRig.create(gpu, vocabSize, rows, compiler);
      let exact = 0;
      for (let pass = 0; pass < passes; pass++) {
        const batch = cases.slice(pass * rows, (pass + 1) * rows);
        const sampleRows = batch.map((candidate, row) => rowOf(candidate, row, vocabSize));
        const tokens = await rig.sample(
          batch.map(({ logits }) => logits),
          sampleRows,
        );
        expect(tokens).toHaveLength(batch.length);
        batch.forEach((candidate, row) => {
          const token = tokens[row];
          const position = sampleRows[row]?.position;
          if (token === undefined || position === undefined) throw new Error('A row has no token.');
          if (checkToken(candidate, token, position)) exact += 1;
          checkLogProbabilities(candidate, token);
        });
      }
      rig.dispose();
      expect(exact).toBeGreaterThanOrEqual(passes * rows * (1 - MAX_CLOSE_SHARE));
    },
  );

  test('gives a row the same bits alone and in company', async () => {
    const vocabSize = 20_011;
    const cases = fc.sample(anyCase(vocabSize, 60), { numRuns: 12, seed: 77 });
    const rig = await SamplerRig.create(gpu, vocabSize, cases.length);
    const rows = cases.map((candidate, row) => rowOf(candidate, row, vocabSize));
    const logits = cases.map((candidate) => candidate.logits);
    const together = await rig.sample(logits, rows);
    for (const [index, row] of rows.entries()) {
      const alone = await rig.sample(logits.slice(index, index + 1), [{ ...row, headRow: 0 }]);
      expect(alone).toEqual([together[index]]);
    }
    rig.dispose();
  });
});

test('changed logits are nobody else’s, and must be', async () => {
  const vocabSize = 63;
  const [one] = fc.sample(anyCase(vocabSize, 5), { numRuns: 1, seed: 1 });
  if (one === undefined) throw new Error('There is one case.');
  const rig = await SamplerRig.create(gpu, vocabSize, 2);
  const params = { ...one.params, logitBias: [[3, 1]] as [number, number][] };
  const adjusted = rowOf({ ...one, params, mask: null }, 0, vocabSize);
  const masked: SampleRow = { headRow: 0, position: 1, params: GREEDY, mask: randomMask(vocabSize, 1, 0.5) };
  for (const row of [adjusted, masked]) {
    await expect(rig.sample([one.logits], [row, { ...row, position: 9 }])).rejects.toThrow(
      /row 0 are changed, and two samples/,
    );
  }
  rig.dispose();
});

describe('a mask', () => {
  const VOCAB = 20_011;
  const PARAMS = [GREEDY, sampling({ temperature: 100, seed: 3 }), sampling({ temperature: 1, topP: 0.9 })];

  test('of one token is that token, with its unmodified log-probability', async () => {
    const rig = await SamplerRig.create(gpu, VOCAB, 8);
    const logits = randomLogits(VOCAB, 9, 4);
    const expected = logProbabilities(logits);
    for (const only of [0, 31, 32, 8192, VOCAB - 1]) {
      const mask = new Uint32Array(Math.ceil(VOCAB / 32));
      mask[only >> 5] = 1 << (only & 31);
      const rows = PARAMS.map((params, headRow): SampleRow => ({ headRow, position: 1, params, mask }));
      const drawn = await rig.sample(
        PARAMS.map(() => logits),
        rows,
      );
      for (const { tokenId, logProbability } of drawn) {
        expect(tokenId).toBe(only);
        expect(Math.abs(logProbability - (expected[only] ?? NaN))).toBeLessThan(LOG_PROBABILITY_TOLERANCE);
      }
    }
    rig.dispose();
  });

  test('that leaves nothing says that the token means nothing', async () => {
    const rig = await SamplerRig.create(gpu, VOCAB, 8);
    const mask = new Uint32Array(Math.ceil(VOCAB / 32));
    const rows = PARAMS.map((params, headRow): SampleRow => ({ headRow, position: 1, params, mask }));
    const drawn = await rig.sample(
      PARAMS.map(() => randomLogits(VOCAB, 9)),
      rows,
    );
    for (const { tokenId, logProbability } of drawn) {
      expect(tokenId).toBeLessThan(VOCAB);
      expect(logProbability).toBeNaN();
    }
    rig.dispose();
  });

  test('of another vocabulary is refused', async () => {
    const rig = await SamplerRig.create(gpu, VOCAB, 1);
    const row = { headRow: 0, position: 1, params: GREEDY, mask: new Uint32Array(3) };
    await expect(rig.sample([randomLogits(VOCAB, 9)], [row])).rejects.toThrow(/words of a mask is 3/);
    rig.dispose();
  });

  test.each([
    { vocabSize: 257, plain: 1, masked: 3 },
    { vocabSize: VOCAB, plain: 2, masked: 5 },
  ])(
    'costs nothing where there is none: vocabulary $vocabSize, $plain dispatches, and $masked with one',
    async ({ vocabSize, plain, masked }) => {
      const memory = new GpuMemory(gpu.device);
      const logits = memory.storage('logits', 2 * vocabSize * Float32Array.BYTES_PER_ELEMENT);
      const sampler = await Sampler.create(gpu.compiler, memory, { vocabSize, maxRows: 2 }, logits);
      const step = { ...ONE_ROW, headRows: 2, sampleRows: 2 };
      const rows = [0, 1].map((headRow): SampleRow => ({ headRow, position: 1, params: GREEDY }));
      const dispatchesOf = (written: readonly SampleRow[]): number => {
        sampler.write(written);
        const encoder = gpu.device.createCommandEncoder();
        const pass = encoder.beginComputePass();
        const dispatch = vi.spyOn(pass, 'dispatchWorkgroups');
        sampler.encode(pass, step);
        pass.end();
        encoder.finish();
        return dispatch.mock.calls.length;
      };
      expect(dispatchesOf(rows)).toBe(plain);
      const mask = randomMask(vocabSize, 1, 0.5);
      expect(dispatchesOf(rows.map((row, index) => (index === 1 ? { ...row, mask } : row)))).toBe(masked);
      expect(dispatchesOf(rows)).toBe(plain);
      memory.dispose();
    },
  );
});
