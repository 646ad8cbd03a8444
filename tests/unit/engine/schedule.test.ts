import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ExecutorRoute } from './executor-route.ts';
import type { Asked } from './executor-route.ts';
import { expectedAnswer } from './recording-slice.ts';

/** Few texts with a common beginning, so that prompts share blocks. */
function textOf(text: number, length: number): number[] {
  return Array.from({ length }, (_, position) => (position < 20 ? position : text * 500 + position));
}

const asked = fc
  .record({
    text: fc.nat(2),
    length: fc.integer({ min: 1, max: 40 }),
    maxTokens: fc.integer({ min: 1, max: 56 }),
    isCached: fc.boolean(),
    abortAfter: fc.option(fc.integer({ min: 1, max: 20 }), { nil: undefined, freq: 3 }),
  })
  .map(({ text, length, maxTokens, isCached, abortAfter }): Asked => ({
    prompt: textOf(text, length),
    maxTokens,
    isCached,
    ...(abortAfter !== undefined && abortAfter < maxTokens && { abortAfter }),
  }));

/** Rounds of requests that come together, and the order in which each of two stages hears of a round. */
const rounds = fc.array(
  fc
    .array(asked, { minLength: 1, maxLength: 7 })
    .chain((requests) =>
      fc.tuple(
        fc.constant(requests),
        fc.tuple(
          ...[0, 1, 2].map(() => fc.shuffledSubarray([...requests.keys()], { minLength: requests.length })),
        ),
      ),
    ),
  { minLength: 1, maxLength: 3 },
);

/** Enough for the longest request alone: 96 tokens. */
const SMALLEST_POOL = 6;

describe.each([1, 2, 3])('a route of %i stages', (stageCount) => {
  it('answers everybody as if alone, whatever the company, the room, the aborts and the order', async () => {
    const seen = { preemptions: 0, rowsRecomputed: 0, cachedTokens: 0, retries: 0 };
    await fc.assert(
      fc.asyncProperty(
        rounds,
        fc.array(fc.integer({ min: SMALLEST_POOL, max: 12 }), {
          minLength: stageCount,
          maxLength: stageCount,
        }),
        fc.constantFrom(1, 7, 16, 64),
        async (all, blockCounts, prefillChunkRows) => {
          const route = new ExecutorRoute(blockCounts, { prefillChunkRows, idleHoldMs: 200 });
          for (const [requests, orders] of all) {
            const answers = await route.ask(requests, orders);
            expect(route.faults).toEqual([]);
            answers.forEach(({ tokens, ended, retries }, index) => {
              const request = requests[index];
              if (!request) return;
              const { prompt, maxTokens, abortAfter } = request;
              expect(ended).toBe(abortAfter === undefined ? null : 'aborted');
              expect(tokens).toEqual(expectedAnswer(prompt, abortAfter ?? maxTokens, stageCount));
              seen.retries += retries;
            });
            expect(route.leftovers).toEqual(
              blockCounts.map(() => ({ blocks: 0, logBytes: 0, sequences: 0 })),
            );
          }
          seen.preemptions += route.total('preemptions');
          seen.rowsRecomputed += route.total('rowsRecomputed');
          seen.cachedTokens += route.total('cachedTokens');
        },
      ),
      { numRuns: 120 },
    );
    // What did not happen was not tested.
    expect(seen.preemptions).toBeGreaterThan(5);
    expect(seen.rowsRecomputed).toBeGreaterThan(50);
    expect(seen.cachedTokens).toBeGreaterThan(500);
  }, 60_000);
});
