import { describe, expect, it } from 'vitest';
import { samplingAfter } from '../../../src/client/sampling-after.ts';
import { MAX_HISTORY_TOKENS } from '../../../src/protocol/limits.ts';
import { sampling } from '../../../src/protocol/sampling.ts';

describe('samplingAfter', () => {
  it('counts every token of the answer, and names those of the prompt once', () => {
    const { history } = samplingAfter(sampling({ repetitionPenalty: 2 }), [3, 4, 3, 3], [7, 8, 7, 9, 7, 8]);
    expect(new Set(history.prompt)).toEqual(new Set([3, 4]));
    expect(history.prompt).toHaveLength(2);
    expect(new Map(history.generated)).toEqual(
      new Map([
        [7, 3],
        [8, 2],
        [9, 1],
      ]),
    );
  });

  it('keeps what was said last, where there is more than fits', () => {
    const ids = Array.from({ length: MAX_HISTORY_TOKENS + 2 }, (_, index) => index);
    // Token 0 was said again at the end, so that 1 and 2 are the earliest.
    const { history } = samplingAfter(sampling({ repetitionPenalty: 2 }), [...ids, 0], [...ids, 0]);
    expect(history.prompt).toHaveLength(MAX_HISTORY_TOKENS);
    expect(history.prompt).toContain(0);
    expect(history.prompt).not.toContain(1);
    expect(history.prompt).not.toContain(2);
    expect(history.generated).toHaveLength(MAX_HISTORY_TOKENS);
    expect(history.generated.at(-1)).toEqual([0, 2]);
  });

  it('asks for what is missing of the least length, and never for less than nothing', () => {
    const params = sampling({ minTokens: 3 });
    expect(samplingAfter(params, [1], []).sampling).toEqual(params);
    expect(samplingAfter(params, [1], [5, 5]).sampling.minTokens).toBe(1);
    expect(samplingAfter(params, [1], [5, 5, 5, 5]).sampling.minTokens).toBe(0);
  });
});
