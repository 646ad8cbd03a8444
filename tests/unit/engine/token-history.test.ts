import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ADJUSTMENT_FLAG, ADJUSTMENT_WORDS } from '../../../src/engine/kernels/sample-rows.ts';
import { TokenHistory } from '../../../src/engine/token-history.ts';
import type { HistoryRequest } from '../../../src/engine/token-history.ts';
import { NO_HISTORY, sampling } from '../../../src/protocol/sampling.ts';
import type { SamplingParams } from '../../../src/protocol/sampling.ts';
import { adjustedLogits } from '../../reference/sampling.ts';

const VOCAB = 100;
const PROMPT_TOKENS = 10;

function historyOf(params: Partial<SamplingParams>, changes: Partial<HistoryRequest> = {}): TokenHistory {
  const request = { promptTokens: PROMPT_TOKENS, stopTokenIds: [], history: NO_HISTORY, ...changes };
  return new TokenHistory({ ...request, sampling: sampling(params) }, VOCAB);
}

interface Adjustment {
  readonly addend: number;
  readonly flags: number;
}

function adjustmentsAt(history: TokenHistory, position: number): Map<number, Adjustment> {
  const words = history.adjustmentsAt(position);
  const floats = new Float32Array(words.buffer, words.byteOffset, words.length);
  const result = new Map<number, Adjustment>();
  for (let start = 0; start < words.length; start += ADJUSTMENT_WORDS) {
    result.set(words[start] ?? NaN, { addend: floats[start + 1] ?? NaN, flags: words[start + 2] ?? NaN });
  }
  expect(result.size * ADJUSTMENT_WORDS).toBe(words.length);
  return result;
}

/** What the kernel does with a table, rounded as it does. */
function apply(logits: Float32Array, table: Map<number, Adjustment>, params: SamplingParams): number[] {
  const penalty = Math.fround(params.repetitionPenalty);
  return Array.from(logits, (logit, id) => {
    const entry = table.get(id);
    if (entry === undefined) return logit;
    if ((entry.flags & ADJUSTMENT_FLAG.banned) !== 0) return -Infinity;
    const isRepeated = (entry.flags & ADJUSTMENT_FLAG.repeated) !== 0;
    const scaled = isRepeated ? Math.fround(logit > 0 ? logit / penalty : logit * penalty) : logit;
    return Math.fround(scaled + entry.addend);
  });
}

const bannedIds = (table: Map<number, Adjustment>) =>
  [...table].filter(([, { flags }]) => (flags & ADJUSTMENT_FLAG.banned) !== 0).map(([id]) => id);

describe('TokenHistory', () => {
  const id = fc.nat(VOCAB - 1);
  const half = <Value>(off: Value, on: fc.Arbitrary<Value>) => fc.oneof(fc.constant(off), on);

  it('makes of every token of an answer what the definition makes, wherever the answer was taken over', () => {
    const params = fc.record({
      repetitionPenalty: half(1, fc.double({ min: 0.5, max: 2, noNaN: true })),
      presencePenalty: half(0, fc.double({ min: -2, max: 2, noNaN: true })),
      frequencyPenalty: half(0, fc.double({ min: -2, max: 2, noNaN: true })),
      logitBias: fc.uniqueArray(fc.tuple(id, fc.oneof(fc.integer({ min: -9, max: 9 }), fc.constant(-100))), {
        maxLength: 6,
        selector: ([token]) => token,
      }),
      minTokens: half(0, fc.nat(30)),
    });
    fc.assert(
      fc.property(
        params,
        fc.array(id, { maxLength: 20 }),
        fc.array(id, { maxLength: 25 }),
        fc.array(id, { maxLength: 3 }),
        fc.nat(25),
        (changes, prompt, answer, stopTokenIds, cut) => {
          const all = sampling(changes);
          const before = answer.slice(0, cut);
          const counts = new Map(
            before.map((said) => [said, before.filter((other) => other === said).length]),
          );
          const hasPenalties =
            all.repetitionPenalty !== 1 || all.presencePenalty !== 0 || all.frequencyPenalty !== 0;
          const history = historyOf(
            { ...changes, minTokens: Math.max(0, all.minTokens - before.length) },
            {
              stopTokenIds,
              promptTokens: PROMPT_TOKENS + before.length,
              history: {
                prompt: all.repetitionPenalty === 1 ? [] : [...new Set(prompt)],
                generated: hasPenalties ? [...counts] : [],
              },
            },
          );
          const logits = Float32Array.from({ length: VOCAB }, (_, token) => ((token * 7) % 11) - 5);
          for (let length = before.length; length <= answer.length; length++) {
            const generated = answer.slice(0, length);
            const position = PROMPT_TOKENS + length;
            const actual = apply(logits, adjustmentsAt(history, position), all);
            const expected = adjustedLogits(logits, all, { prompt, generated, stopTokenIds });
            actual.forEach((logit, token) => {
              const wanted = expected[token] ?? NaN;
              if (wanted === -Infinity) expect(logit).toBe(-Infinity);
              else expect(Math.abs(logit - wanted)).toBeLessThan(1e-5);
            });
            const next = answer[length];
            if (next !== undefined) history.add(position, next);
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  it('adjusts nothing where nothing is asked, whatever was said', () => {
    const history = historyOf({ temperature: 1, topK: 5 }, { stopTokenIds: [1] });
    for (let position = PROMPT_TOKENS; position < PROMPT_TOKENS + 20; position++) {
      expect(history.adjustmentsAt(position)).toHaveLength(0);
      history.add(position, 3);
    }
  });

  it('bans stop tokens up to the least length, to the token', () => {
    const history = historyOf({ minTokens: 3 }, { stopTokenIds: [1, 2, VOCAB + 5] });
    for (let length = 0; length < 3; length++) {
      expect(bannedIds(adjustmentsAt(history, PROMPT_TOKENS + length))).toEqual([1, 2]);
      history.add(PROMPT_TOKENS + length, 9);
    }
    expect(history.adjustmentsAt(PROMPT_TOKENS + 3)).toHaveLength(0);
  });

  it('bans a token with a bias of -100 also after it is no stop token any more', () => {
    const history = historyOf({ minTokens: 1, logitBias: [[1, -100]] }, { stopTokenIds: [1, 2] });
    expect(bannedIds(adjustmentsAt(history, PROMPT_TOKENS))).toEqual([1, 2]);
    history.add(PROMPT_TOKENS, 9);
    expect(bannedIds(adjustmentsAt(history, PROMPT_TOKENS + 1))).toEqual([1]);
  });

  it('counts a position once, and sees a gap', () => {
    const history = historyOf({ frequencyPenalty: 1 });
    history.add(PROMPT_TOKENS, 4);
    history.add(PROMPT_TOKENS, 4);
    expect(adjustmentsAt(history, PROMPT_TOKENS + 1)).toEqual(new Map([[4, { addend: -1, flags: 0 }]]));
    expect(() => history.add(PROMPT_TOKENS + 2, 4)).toThrow(/that at 11 not/);
    expect(() => history.adjustmentsAt(PROMPT_TOKENS + 2)).toThrow(/that at 11 was not counted/);
  });

  it('has room for every token of a vocabulary', () => {
    const history = historyOf({ presencePenalty: 1 });
    for (let token = 0; token < VOCAB; token++) history.add(PROMPT_TOKENS + token, VOCAB - 1 - token);
    const table = adjustmentsAt(history, PROMPT_TOKENS + VOCAB);
    expect([...table.keys()].sort((a, b) => a - b)).toEqual(
      Array.from({ length: VOCAB }, (_, token) => token),
    );
  });

  it.each<[string, Partial<SamplingParams>, Partial<HistoryRequest>, RegExp]>([
    ['a bias of a token that is not there', { logitBias: [[VOCAB, 1]] }, {}, /logitBias names token 100/],
    [
      'a prompt of other tokens',
      { repetitionPenalty: 2 },
      { history: { prompt: [VOCAB], generated: [] } },
      /history names token 100/,
    ],
    [
      'an answer of other tokens',
      { presencePenalty: 1 },
      { history: { prompt: [], generated: [[199, 1]] } },
      /history names token 199/,
    ],
    [
      'a ban of everything',
      {
        logitBias: Array.from({ length: VOCAB - 1 }, (_, token): [number, number] => [token, -100]),
        minTokens: 1,
      },
      { stopTokenIds: [VOCAB - 1] },
      /ban all 100 tokens/,
    ],
  ])('refuses %s', (_, params, changes, words) => {
    expect(() => historyOf(params, changes)).toThrow(words);
    expect(() => historyOf(params, changes)).toThrow(
      expect.objectContaining({ code: 'bad-argument' }) as Error,
    );
  });
});
