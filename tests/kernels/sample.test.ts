import { beforeAll, describe, expect, test } from 'vitest';
import { GpuMemory } from '../../src/engine/gpu-memory.ts';
import type { SampledToken, SampleRow } from '../../src/engine/kernels/sample-rows.ts';
import { Sampler } from '../../src/engine/sampler.ts';
import { TokenHistory } from '../../src/engine/token-history.ts';
import { GREEDY, NO_HISTORY, sampling } from '../../src/protocol/sampling.ts';
import type { SamplingParams } from '../../src/protocol/sampling.ts';
import { keptTokens, logProbabilities, sampledProbabilities } from '../reference/sampling.ts';
import { ONE_ROW, openTestGpu } from './gpu.ts';
import type { TestGpu } from './gpu.ts';
import { randomLogits, sampleOnce } from './sampler-rig.ts';

/** A sum of up to 2^18 positive f32 over 256 lanes, and a logarithm: relative error of the sum below 2^-24 · 2^10. */
const LOG_PROBABILITY_TOLERANCE = 1e-4;

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});

const sample = (logits: readonly Float32Array[], rows: readonly SampleRow[]) => sampleOnce(gpu, logits, rows);

/** The same draw under many seeds. */
function manySeeds(count: number, params: Partial<SamplingParams>, position = 0): SampleRow[] {
  return Array.from({ length: count }, (_, seed) => ({
    headRow: 0,
    position,
    params: sampling({ ...params, seed }),
  }));
}

function countTokens(tokens: readonly SampledToken[], vocabSize: number): number[] {
  const counts = new Array<number>(vocabSize).fill(0);
  for (const { tokenId } of tokens) counts[tokenId] = (counts[tokenId] ?? NaN) + 1;
  return counts;
}

function chiSquare(observed: readonly number[], expected: readonly number[]): number {
  return observed.reduce(
    (sum, count, cell) => sum + (count - (expected[cell] ?? NaN)) ** 2 / (expected[cell] ?? NaN),
    0,
  );
}

describe('greedy', () => {
  test.each([1, 2, 63, 255, 256, 257, 2048, 50_257, 262_144])(
    'is the argmax over %i tokens',
    async (vocabSize) => {
      const rows = [1, 2, 3].map((seed) => randomLogits(vocabSize, seed, 4));
      const actual = await sample(
        rows,
        rows.map((_, headRow) => ({ headRow, position: 0, params: GREEDY })),
      );
      for (const [index, row] of rows.entries()) {
        const highest = row.reduce((max, value) => Math.max(max, value), -Infinity);
        const tokenId = row.indexOf(highest);
        expect(actual[index]?.tokenId).toBe(tokenId);
        const error = (actual[index]?.logProbability ?? NaN) - (logProbabilities(row)[tokenId] ?? NaN);
        expect(Math.abs(error)).toBeLessThan(LOG_PROBABILITY_TOLERANCE);
      }
    },
  );

  test('takes the lowest id among equals, wherever they lie', async () => {
    const ties = [
      [700, 701, 999],
      [3, 259, 515],
      [255, 256],
      [600, 12],
    ];
    const rows = ties.map((ids, seed) => {
      const row = randomLogits(1000, seed);
      for (const id of ids) row[id] = 9;
      return row;
    });
    // Zero has two signs and one value.
    const zeros = new Float32Array(1000).fill(-1);
    zeros[400] = -0;
    zeros[401] = 0;
    const all = [...rows, zeros];
    const actual = await sample(
      all,
      all.map((_, headRow) => ({ headRow, position: 0, params: GREEDY })),
    );
    expect(actual.map(({ tokenId }) => tokenId)).toEqual([700, 3, 255, 12, 400]);
  });
});

describe('the kept set is exactly the reference set', () => {
  const DRAWS = 2048;
  /** At so high a temperature all kept tokens are about equally likely, so that draws show all of them. */
  const FLAT = 30;

  test.each([
    { vocabSize: 40, temperature: FLAT, topK: 0, topP: 1 },
    { vocabSize: 40, temperature: FLAT, topK: 1, topP: 1 },
    { vocabSize: 40, temperature: FLAT, topK: 7, topP: 1 },
    { vocabSize: 40, temperature: FLAT, topK: 39, topP: 1 },
    { vocabSize: 40, temperature: FLAT, topK: 40, topP: 1 },
    { vocabSize: 40, temperature: FLAT, topK: 0xffff_ffff, topP: 1 },
    { vocabSize: 40, temperature: FLAT, topK: 0, topP: 0.01 },
    { vocabSize: 40, temperature: FLAT, topK: 0, topP: 0.5 },
    { vocabSize: 40, temperature: 1.5, topK: 0, topP: 0.8 },
    { vocabSize: 40, temperature: 0.7, topK: 0, topP: 0.6 },
    { vocabSize: 40, temperature: 2, topK: 12, topP: 0.7 },
    { vocabSize: 2048, temperature: FLAT, topK: 50, topP: 1 },
    { vocabSize: 2048, temperature: FLAT, topK: 0, topP: 0.015 },
    { vocabSize: 2048, temperature: FLAT, topK: 100, topP: 0.4 },
  ])('$vocabSize tokens, T $temperature, k $topK, p $topP', async ({ vocabSize, ...params }) => {
    const logits = randomLogits(vocabSize, 11, 2);
    const kept = keptTokens(logits, sampling(params));
    // Enough draws that a kept token is missed with a probability below 40 · e^-20.
    const rarest = Math.min(...kept.map((id) => sampledProbabilities(logits, sampling(params))[id] ?? NaN));
    expect(rarest * DRAWS).toBeGreaterThan(20);

    const drawn = await sample([logits], manySeeds(DRAWS, params));

    expect([...new Set(drawn.map(({ tokenId }) => tokenId))].sort((a, b) => a - b)).toEqual(kept);
  });

  test('in a vocabulary of 151,936', async () => {
    const logits = randomLogits(151_936, 12, 2);
    const params = { temperature: FLAT, topK: 3, topP: 1 };
    const drawn = await sample([logits], manySeeds(100, params));
    expect([...new Set(drawn.map(({ tokenId }) => tokenId))].sort((a, b) => a - b)).toEqual(
      keptTokens(logits, sampling(params)),
    );
  });

  test('equal logits at the threshold stay or go together', async () => {
    const logits = Float32Array.from([2, 1, 1, 1, 0, 0, -1, -1]);
    const byTopK = await sample([logits], manySeeds(500, { temperature: 5, topK: 2, topP: 1 }));
    expect(new Set(byTopK.map(({ tokenId }) => tokenId))).toEqual(new Set([0, 1, 2, 3]));
    const byTopP = await sample([logits], manySeeds(500, { temperature: 5, topK: 0, topP: 0.25 }));
    expect(new Set(byTopP.map(({ tokenId }) => tokenId))).toEqual(new Set([0, 1, 2, 3]));
  });
});

describe('draws', () => {
  const VOCAB = 24;
  const DRAWS = 4096;
  const PARAMS = { temperature: 1.3, topK: 20, topP: 0.95 };
  /** The 99.99 % quantile of chi-square at 23 degrees of freedom, the most there can be here. */
  const CHI_SQUARE_BOUND = 57;

  test.each([
    ['seeds', (draw: number) => ({ seed: draw, position: 17 })],
    ['positions', (draw: number) => ({ seed: 17, position: draw })],
  ])('follow the distribution over %s', async (_, drawOf) => {
    const logits = randomLogits(VOCAB, 5);
    const probabilities = sampledProbabilities(logits, sampling(PARAMS));
    const possible = probabilities.flatMap((probability, id) => (probability > 0 ? [id] : []));
    expect(possible.length).toBeLessThan(VOCAB);
    const rows = Array.from({ length: DRAWS }, (_unused, draw) => {
      const { seed, position } = drawOf(draw);
      return { headRow: 0, position, params: sampling({ ...PARAMS, seed }) };
    });

    const counts = countTokens(await sample([logits], rows), VOCAB);

    expect(possible.reduce((sum, id) => sum + (counts[id] ?? NaN), 0)).toBe(DRAWS);
    const observed = possible.map((id) => counts[id] ?? NaN);
    const expected = possible.map((id) => DRAWS * (probabilities[id] ?? NaN));
    expect(chiSquare(observed, expected)).toBeLessThan(CHI_SQUARE_BOUND);
  });

  test('of neighbouring positions and neighbouring seeds are independent', async () => {
    const params = { temperature: 1, topK: 0, topP: 1 };
    const logits = new Float32Array(4);
    for (const neighbours of [
      (draw: number) => [
        { seed: 3, position: 2 * draw },
        { seed: 3, position: 2 * draw + 1 },
      ],
      (draw: number) => [
        { seed: 2 * draw, position: 3 },
        { seed: 2 * draw + 1, position: 3 },
      ],
    ]) {
      const rows = Array.from({ length: DRAWS }, (_, draw) => neighbours(draw)).flat();
      const drawn = await sample(
        [logits],
        rows.map(({ seed, position }) => ({ headRow: 0, position, params: sampling({ ...params, seed }) })),
      );
      const pairs = new Array<number>(16).fill(0);
      for (let draw = 0; draw < DRAWS; draw++) {
        const pair = 4 * (drawn[2 * draw]?.tokenId ?? NaN) + (drawn[2 * draw + 1]?.tokenId ?? NaN);
        pairs[pair] = (pairs[pair] ?? NaN) + 1;
      }
      // The 99.99 % quantile at 15 degrees of freedom.
      expect(chiSquare(pairs, new Array<number>(16).fill(DRAWS / 16))).toBeLessThan(45);
    }
  });

  test('depend on nothing but their own row', async () => {
    const logits = [1, 2, 3].map((seed) => randomLogits(500, seed, 2));
    const rows = Array.from({ length: 60 }, (_, index) => ({
      headRow: index % 3,
      position: index * 7,
      params: sampling({
        temperature: 0.5 + (index % 4),
        topK: (index % 5) * 10,
        topP: 0.7 + (index % 3) / 10,
        seed: index,
      }),
    }));
    const together = await sample(logits, rows);
    expect(new Set(together.map(({ tokenId }) => tokenId)).size).toBeGreaterThan(10);
    expect(await sample(logits, rows.toReversed())).toEqual(together.toReversed());
    for (const index of [0, 7, 31]) {
      const row = rows[index];
      const alone = logits[index % 3];
      if (row === undefined || alone === undefined) throw new Error('The test has 60 rows and 3 logits.');
      expect(await sample([alone], [{ ...row, headRow: 0 }])).toEqual([together[index]]);
    }
  });
});

describe.each([300, 20_011])('hostile logits and parameters, vocabulary %i', (VOCAB) => {
  const LAST = VOCAB - 50;
  const withValues = (values: Readonly<Record<number, number>>) => {
    const logits = randomLogits(VOCAB, 4);
    for (const [id, value] of Object.entries(values)) logits[Number(id)] = value;
    return logits;
  };
  const PARAMS: SamplingParams[] = [
    GREEDY,
    sampling({ temperature: 1, seed: 1 }),
    sampling({ temperature: 1, topK: 5, topP: 0.9, seed: 2 }),
    sampling({ temperature: 1, topK: 299, topP: 0.9999, seed: 3 }),
    sampling({ temperature: 1, minP: 0.1, seed: 4 }),
  ];

  test.each([
    ['all NaN', new Float32Array(VOCAB).fill(NaN)],
    ['one NaN', withValues({ [LAST]: NaN })],
    ['plus infinity', withValues({ 7: Infinity, [LAST]: Infinity })],
    ['all minus infinity', new Float32Array(VOCAB).fill(-Infinity)],
    ['NaN and infinities', withValues({ 0: NaN, 1: Infinity, 2: -Infinity })],
  ])('%s: an id of the vocabulary, and NaN says that it means nothing', async (_, logits) => {
    const drawn = await sample(
      [logits],
      PARAMS.map((params) => ({ headRow: 0, position: 0, params })),
    );
    for (const { tokenId, logProbability } of drawn) {
      expect(tokenId).toBeLessThan(VOCAB);
      expect(logProbability).toBeNaN();
    }
  });

  test('NaN of either sign is never the largest', async () => {
    const logits = withValues({ 3: 50, 7: NaN, 8: NaN });
    const SIGN_BYTE = 4 * 8 + 3;
    new Uint8Array(logits.buffer)[SIGN_BYTE] = 0xff;
    const drawn = await sample(
      [logits],
      PARAMS.map((params) => ({ headRow: 0, position: 0, params })),
    );
    expect(drawn.map(({ tokenId }) => tokenId)).toEqual(PARAMS.map(() => 3));
  });

  test('a token masked with minus infinity is never drawn and costs nothing', async () => {
    const logits = new Float32Array(VOCAB).fill(-Infinity);
    logits[20] = 0;
    logits[LAST] = 0;
    const drawn = await sample(
      [logits],
      PARAMS.flatMap((params) => [1, 2, 3, 4].map((position) => ({ headRow: 0, position, params }))),
    );
    expect(new Set(drawn.map(({ tokenId }) => tokenId))).toEqual(new Set([20, LAST]));
    for (const { logProbability } of drawn) expect(logProbability).toBeCloseTo(-Math.LN2, 5);
  });

  test('bans of all that can be chosen say that the token means nothing', async () => {
    const logits = new Float32Array(VOCAB).fill(-Infinity);
    logits[LAST] = 1;
    for (const params of PARAMS.map((other) => ({
      ...other,
      logitBias: [[LAST, -100]] as [number, number][],
    }))) {
      const request = { promptTokens: 1, stopTokenIds: [], sampling: params, history: NO_HISTORY };
      const adjustments = new TokenHistory(request, VOCAB).adjustmentsAt(1);
      const [drawn] = await sample([logits], [{ headRow: 0, position: 1, params, adjustments }]);
      expect(drawn?.tokenId).toBeLessThan(VOCAB);
      expect(drawn?.logProbability).toBeNaN();
    }
  });

  test('parameters out of their range neither hang nor leave the vocabulary', async () => {
    const logits = randomLogits(VOCAB, 4);
    const argmax = logits.indexOf(logits.reduce((max, value) => Math.max(max, value), -Infinity));
    const base = sampling({ temperature: 1, seed: 9 });
    const greedyAnyway = [
      { ...base, temperature: NaN },
      { ...base, temperature: -1 },
      { ...base, temperature: 1e-30 },
      { ...base, topP: 0 },
      { ...base, topP: -1 },
      { ...base, topP: 1e-30 },
    ];
    const drawn = await sample(
      [logits],
      [...greedyAnyway, { ...base, topP: NaN }].map((params) => ({ headRow: 0, position: 0, params })),
    );
    expect(drawn.slice(0, -1).map(({ tokenId }) => tokenId)).toEqual(greedyAnyway.map(() => argmax));
    expect(drawn.at(-1)?.tokenId).toBeLessThan(VOCAB);
  });

  test('refuses sizes that do not fit, by name', async () => {
    const row = { headRow: 0, position: 0, params: GREEDY };
    await expect(sample([new Float32Array(0)], [row])).rejects.toThrow(/vocabSize is 0/);
    const memory = new GpuMemory(gpu.device);
    const shape = { vocabSize: 5, maxRows: 1 };
    const kernel = await Sampler.create(gpu.compiler, memory, shape, gpu.poisoned(4));
    kernel.write([row]);
    const step = { ...ONE_ROW, headRows: 1, sampleRows: 1 };
    await expect(gpu.run([kernel], step)).rejects.toThrow(/logits has 16 bytes and this needs 20/);
  });
});
