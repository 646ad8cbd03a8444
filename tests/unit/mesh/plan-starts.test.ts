import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { offerProblem, planStarts } from '../../../src/mesh/plan-starts.ts';
import type { StageOffer } from '../../../src/protocol/frames.ts';
import { BLOCK_TOKENS } from '../../../src/protocol/stage.ts';

const none = (cachedTokens: number): StageOffer => ({ cachedTokens, journalFrom: cachedTokens });
const journalled = (cachedTokens: number, journalFrom = 0): StageOffer => ({ cachedTokens, journalFrom });

/**
 * Whether all hops get what they need: every row once, from its start on, computed by the hop before or sent from its journal, and
 * what is before its start in its cache.
 */
function works(starts: readonly number[], offers: readonly StageOffer[], promptTokens: number): boolean {
  return offers.every(({ cachedTokens, journalFrom }, hop) => {
    const start = starts[hop] ?? NaN;
    const needsOwn = start <= cachedTokens && start % BLOCK_TOKENS === 0 && start < promptTokens;
    const next = starts[hop + 1];
    // Rows [next, start) are not computed here, so they come from the journal.
    const canSend = next === undefined || next >= start || journalFrom <= next;
    return needsOwn && canSend;
  });
}

/** Rows that all hops compute together. */
function cost(starts: readonly number[], promptTokens: number): number {
  return starts.reduce((sum, start) => sum + promptTokens - start, 0);
}

describe('the starts of hops', () => {
  it.each<[string, number, StageOffer[], number[]]>([
    ['nobody has anything', 50, [none(0), none(0)], [0, 0]],
    ['all have everything', 50, [none(48), none(48)], [48, 48]],
    ['the last token is computed in any case', 48, [none(48), none(48)], [32, 32]],
    ['a replacement behind a journal is replayed to', 100, [journalled(96), none(0), none(80)], [96, 0, 80]],
    ['a replacement without one is computed for', 100, [none(96), none(0), none(80)], [0, 0, 80]],
    [
      'a new first hop computes all, the others what they lack',
      100,
      [none(0), journalled(96), none(96)],
      [0, 96, 96],
    ],
    ['a journal that begins too late is of no use', 100, [journalled(96, 16), none(0)], [0, 0]],
    ['a journal that reaches back to the need is', 100, [journalled(96, 16), none(16)], [96, 16]],
    ['journals in a row', 100, [journalled(64), journalled(32), none(0)], [64, 32, 0]],
    ['one hop', 33, [none(32)], [32]],
    ['a prompt of one token', 1, [none(0), none(0)], [0, 0]],
  ])('%s', (_why, promptTokens, offers, starts) => {
    expect(planStarts(offers, promptTokens)).toEqual(starts);
  });

  it('work, and no others compute less', () => {
    const offer = fc
      .tuple(fc.integer({ min: 0, max: 4 }), fc.integer({ min: 0, max: 5 }))
      .map(([cached, from]) => journalled(cached * BLOCK_TOKENS, from * BLOCK_TOKENS));
    fc.assert(
      fc.property(
        fc.array(offer, { minLength: 1, maxLength: 4 }),
        fc.integer({ min: 1, max: 5 * BLOCK_TOKENS }),
        (offers, promptTokens) => {
          const starts = planStarts(offers, promptTokens);
          expect(works(starts, offers, promptTokens)).toBe(true);
          const least = allStarts(offers.length)
            .filter((others) => works(others, offers, promptTokens))
            .reduce((best, others) => Math.min(best, cost(others, promptTokens)), Infinity);
          expect(cost(starts, promptTokens)).toBe(least);
        },
      ),
      { numRuns: 300 },
    );
  });
});

/** Every choice of whole blocks for so many hops. */
function allStarts(hops: number): number[][] {
  if (hops === 0) return [[]];
  return allStarts(hops - 1).flatMap((rest) =>
    [0, 1, 2, 3, 4].map((blocks) => [blocks * BLOCK_TOKENS, ...rest]),
  );
}

describe('an offer', () => {
  it('is of whole blocks, and never of the last token', () => {
    expect(offerProblem(none(32), 33)).toBeNull();
    expect(offerProblem(none(32), 32)).toMatch(/32 cached tokens of a prompt of 32/);
    expect(offerProblem(none(17), 100)).toMatch(/no whole blocks/);
  });
});
