import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { planBatch } from '../../../src/engine/plan.ts';
import type { PlannableSequence } from '../../../src/engine/plan.ts';
import type { RequestId } from '../../../src/protocol/ids.ts';

const limits = { maxRows: 100, maxSequences: 8, prefillChunkRows: 16 };

function sequence(name: string, phase: 'prefill' | 'decode', pendingRows: number): PlannableSequence {
  return { requestId: name as RequestId, phase, pendingRows };
}

describe('planBatch', () => {
  it('takes decode rows before prefill chunks, each in order of turn', () => {
    const plan = planBatch(
      [sequence('a', 'prefill', 40), sequence('b', 'decode', 1), sequence('c', 'prefill', 5)],
      limits,
    );
    expect(plan).toEqual([
      { requestId: 'b', rowCount: 1 },
      { requestId: 'a', rowCount: 16 },
      { requestId: 'c', rowCount: 5 },
    ]);
  });

  it('cuts the last chunk to the row budget', () => {
    const plan = planBatch([sequence('a', 'decode', 1), sequence('b', 'prefill', 40)], {
      ...limits,
      maxRows: 10,
    });
    expect(plan.map(({ rowCount }) => rowCount)).toEqual([1, 9]);
  });

  it('is empty when nothing is pending', () => {
    expect(planBatch([sequence('a', 'decode', 0), sequence('b', 'prefill', 0)], limits)).toEqual([]);
  });

  it('stays within every limit, plans a sequence once, and idles only when nothing is pending', () => {
    const sequences = fc
      .array(fc.tuple(fc.constantFrom('prefill', 'decode'), fc.nat(300)), { maxLength: 40 })
      .map((entries) =>
        entries.map(([phase, pending], index) => sequence(String(index), phase as 'prefill', pending)),
      );
    const anyLimits = fc.record({
      maxRows: fc.integer({ min: 1, max: 64 }),
      maxSequences: fc.integer({ min: 1, max: 12 }),
      prefillChunkRows: fc.integer({ min: 1, max: 80 }),
    });
    fc.assert(
      fc.property(sequences, anyLimits, (waiting, bounds) => {
        const plan = planBatch(waiting, bounds);
        const pending = new Map(waiting.map((each) => [each.requestId, each]));
        expect(new Set(plan.map(({ requestId }) => requestId)).size).toBe(plan.length);
        expect(plan.length).toBeLessThanOrEqual(bounds.maxSequences);
        expect(plan.reduce((rows, { rowCount }) => rows + rowCount, 0)).toBeLessThanOrEqual(bounds.maxRows);
        for (const { requestId, rowCount } of plan) {
          const source = pending.get(requestId);
          expect(rowCount).toBeGreaterThan(0);
          expect(rowCount).toBeLessThanOrEqual(
            Math.min(source?.pendingRows ?? 0, source?.phase === 'decode' ? 1 : bounds.prefillChunkRows),
          );
        }
        expect(plan.length > 0).toBe(waiting.some(({ pendingRows }) => pendingRows > 0));
      }),
    );
  });
});
