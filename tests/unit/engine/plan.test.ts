import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PINNED_HOLD_FACTOR } from '../../../src/engine/block-budget.ts';
import { planBatch, STARVING_STEPS } from '../../../src/engine/plan.ts';
import type { BatchPlan, PlannableSequence, PlanLimits } from '../../../src/engine/plan.ts';
import type { RequestId } from '../../../src/protocol/ids.ts';
import { BLOCK_TOKENS } from '../../../src/protocol/stage.ts';

const limits: PlanLimits = {
  maxRows: 100,
  maxSequences: 8,
  prefillChunkRows: 16,
  freeBlocks: 1000,
  idleHoldMs: 1000,
};

let ages = 0;
let blocks = 0;

/** Blocks that nobody else has. */
function newBlocks(count: number): number[] {
  return Array.from({ length: count }, () => blocks++);
}

/** A resident sequence on a route of one hop, for which nothing is short. */
function sequence(
  name: string,
  phase: 'prefill' | 'decode',
  pendingRows: number,
  changes: Partial<PlannableSequence> = {},
): PlannableSequence {
  const cacheLength = changes.cacheLength ?? 0;
  return {
    requestId: name as RequestId,
    age: ages++,
    phase,
    pendingRows,
    hopCount: 1,
    waitedSteps: 0,
    isResident: true,
    cacheLength,
    blocks: newBlocks(Math.ceil(cacheLength / BLOCK_TOKENS)),
    pinnedBlocks: 0,
    knownTokens: cacheLength + pendingRows,
    writesShared: false,
    idleMs: pendingRows > 0 ? null : 0,
    ...changes,
  };
}

function names({ rows }: BatchPlan): string[] {
  return rows.map(({ requestId }) => requestId);
}

describe('planBatch', () => {
  it('takes decode rows before prefill chunks, each in order of turn', () => {
    const plan = planBatch(
      [sequence('a', 'prefill', 40), sequence('b', 'decode', 1), sequence('c', 'prefill', 5)],
      limits,
    );
    expect(plan.rows).toEqual([
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
    expect(plan.rows.map(({ rowCount }) => rowCount)).toEqual([1, 9]);
  });

  it('is empty when nothing is pending', () => {
    const plan = planBatch([sequence('a', 'decode', 0), sequence('b', 'prefill', 0)], limits);
    expect(plan).toEqual({ rows: [], preempted: [], ended: [], retryAfterMs: null });
  });

  it.each([
    [1, 7, 7],
    [2, 7, 3],
    [3, 7, 2],
    [3, 8, 2],
    [3, 9, 3],
    [49, 7, 1],
    // 33 thirds are a little more than 11, in floating point.
    [2, 33, 11],
  ])('over %i hops, of %i sequences that decode, takes %i', (hopCount, count, expected) => {
    const decoding = Array.from({ length: count }, (_, index) =>
      sequence(String(index), 'decode', 1, { hopCount }),
    );
    expect(planBatch(decoding, { ...limits, maxSequences: 40 }).rows.length).toBe(expected);
  });

  it('counts sequences whose rows are at another hop into the share of a batch, and prompts not', () => {
    const here = Array.from({ length: 3 }, (_, index) =>
      sequence(String(index), 'decode', 1, { hopCount: 2 }),
    );
    const away = Array.from({ length: 3 }, (_, index) => sequence(`a${index}`, 'decode', 0, { hopCount: 2 }));
    const prompt = sequence('p', 'prefill', 4, { hopCount: 2 });
    expect(names(planBatch([...here, ...away, prompt], limits))).toEqual(['0', '1', 'p']);
    expect(names(planBatch([...here, prompt], limits))).toEqual(['0', 'p']);
  });

  it('preempts the youngest first, and only as many as are needed', () => {
    const [a, b, c] = ['a', 'b', 'c'].map((name) => sequence(name, 'decode', 1, { cacheLength: 32 }));
    if (!a || !b || !c) throw new Error('three sequences');
    const plan = planBatch([c, b, a], { ...limits, freeBlocks: 1 });
    expect(plan.preempted).toEqual(['c']);
    expect(names(plan).sort()).toEqual(['a', 'b']);
  });

  it('takes from the youngest, whoever comes first in turn', () => {
    const [a, b, c] = ['a', 'b', 'c'].map((name) =>
      sequence(name, 'decode', name === 'a' ? 1 : 0, { cacheLength: 32 }),
    );
    if (!a || !b || !c) throw new Error('three sequences');
    expect(planBatch([a, b, c], { ...limits, freeBlocks: 0 }).preempted).toEqual(['c']);
    expect(planBatch([a, c, b], { ...limits, freeBlocks: 0 }).preempted).toEqual(['c']);
  });

  it('takes back what it had given to a younger one in the same batch', () => {
    const old = sequence('old', 'decode', 1, { cacheLength: 16 });
    const young = sequence('young', 'decode', 1);
    expect(planBatch([young, old], { ...limits, freeBlocks: 1 })).toMatchObject({
      rows: [{ requestId: 'old', rowCount: 1 }],
      preempted: ['young'],
    });
  });

  it('knows that a block is free once the last of those who shared it lost it', () => {
    const a = sequence('a', 'decode', 1, { cacheLength: 16 });
    const b = sequence('b', 'prefill', 16, { cacheLength: 16, knownTokens: 48 });
    const shared = newBlocks(1);
    const x = sequence('x', 'decode', 0, { blocks: [...shared, ...newBlocks(1)], cacheLength: 32 });
    const y = sequence('y', 'decode', 0, { blocks: [...shared, ...newBlocks(1)], cacheLength: 32 });
    const plan = planBatch([a, { ...b, pendingRows: 32 }, x, y], {
      ...limits,
      prefillChunkRows: 32,
      freeBlocks: 0,
    });
    // What is y's alone goes to a; what is x's alone, and what both had, goes to b.
    expect(plan.rows).toEqual([
      { requestId: 'a', rowCount: 1 },
      { requestId: 'b', rowCount: 32 },
    ]);
    expect(plan.preempted).toEqual(['y', 'x']);
  });

  it('leaves the young one waiting rather than take from an older one that works', () => {
    const old = sequence('old', 'decode', 0, { cacheLength: 32, idleMs: 400 });
    const young = sequence('young', 'decode', 1, { cacheLength: 32 });
    const plan = planBatch([young, old], { ...limits, freeBlocks: 0 });
    expect(plan).toEqual({ rows: [], preempted: [], ended: [], retryAfterMs: 600 });
    const late = { ...old, idleMs: 1000 };
    expect(planBatch([young, late], { ...limits, freeBlocks: 0 })).toEqual({
      rows: [{ requestId: 'young', rowCount: 1 }],
      preempted: ['old'],
      ended: [],
      retryAfterMs: null,
    });
  });

  it('ends whoever pins blocks that an older one needs, when nothing else is left', () => {
    const old = sequence('old', 'decode', 1, { cacheLength: 32 });
    const pinning = sequence('pin', 'prefill', 0, {
      isResident: false,
      blocks: newBlocks(2),
      pinnedBlocks: 2,
    });
    const holding = sequence('hold', 'decode', 0, { cacheLength: 32 });
    expect(planBatch([old, pinning], { ...limits, freeBlocks: 0 }).ended).toEqual(['pin']);
    expect(planBatch([old, pinning, holding], { ...limits, freeBlocks: 0 })).toMatchObject({
      preempted: ['hold'],
      ended: [],
    });
    const young = sequence('young', 'decode', 1, { cacheLength: 32 });
    expect(planBatch([pinning, young], { ...limits, freeBlocks: 0 })).toMatchObject({ ended: [], rows: [] });
    const hour = { ...pinning, idleMs: limits.idleHoldMs * PINNED_HOLD_FACTOR };
    expect(planBatch([hour, young], { ...limits, freeBlocks: 0 }).ended).toEqual(['pin']);
  });

  it('counts what was reserved for whoever it preempts once, also where that one would have to be ended', () => {
    const [pinned] = newBlocks(1);
    const common = { blocks: [pinned ?? 0], pinnedBlocks: 1 };
    const older = sequence('older', 'prefill', 49, {
      ...common,
      isResident: false,
      cacheLength: BLOCK_TOKENS,
      knownTokens: 65,
    });
    const younger = sequence('younger', 'prefill', 1, {
      ...common,
      blocks: [...common.blocks, ...newBlocks(1)],
      cacheLength: 2 * BLOCK_TOKENS,
    });
    // Four more are wanted; there are two, one of which the younger is about to take, and one that it holds.
    const plan = planBatch([older, younger], { ...limits, prefillChunkRows: 49, freeBlocks: 2 });
    expect([names(plan), plan.preempted, plan.ended]).toEqual([['younger'], [], []]);
  });

  it('admits in order of age, and only who can go on with what older ones leave', () => {
    const waiting = { isResident: false };
    const large = sequence('large', 'prefill', 160, waiting);
    const small = sequence('small', 'prefill', 16, waiting);
    expect(names(planBatch([small, large], { ...limits, freeBlocks: 9 }))).toEqual([]);
    expect(names(planBatch([small, large], { ...limits, freeBlocks: 10 }))).toEqual(['large']);
    // The large one's first chunk is one block; the rest of its prompt is promised, and one to grow into.
    expect(names(planBatch([small, large], { ...limits, freeBlocks: 11 }))).toEqual(['large']);
    expect(names(planBatch([small, large], { ...limits, freeBlocks: 12 }))).toEqual(['large', 'small']);
  });

  it('gives the rows of whoever is preempted in the same batch to those that come next', () => {
    const full = { cacheLength: 32 };
    const old = sequence('old', 'decode', 1, full);
    const next = sequence('next', 'decode', 1, { cacheLength: 33 });
    const prompt = sequence('prompt', 'prefill', 10, { cacheLength: 16, blocks: newBlocks(2) });
    // It goes first, into its own block, and the old one takes both blocks of it.
    const young = sequence('young', 'decode', 1, { cacheLength: 31 });
    const plan = planBatch([young, old, next, prompt], { ...limits, maxRows: 4, freeBlocks: 0 });
    expect(plan.preempted).toEqual(['young']);
    expect(plan.rows).toEqual([
      { requestId: 'old', rowCount: 1 },
      { requestId: 'next', rowCount: 1 },
      { requestId: 'prompt', rowCount: 2 },
    ]);
    const routed = [young, old, next].map((each) => ({ ...each, hopCount: 2 }));
    const idle = [1, 2, 3].map((name) => sequence(`idle ${name}`, 'decode', 0, { hopCount: 2 }));
    // Six on routes of two stages: two in a batch.
    expect(names(planBatch([...routed, ...idle], { ...limits, freeBlocks: 0 }))).toEqual(['old', 'next']);
  });

  it('serves whoever waited too long before all others', () => {
    const starving = sequence('s', 'prefill', 16, { waitedSteps: STARVING_STEPS });
    const decoding = Array.from({ length: 9 }, (_, index) => sequence(String(index), 'decode', 1));
    expect(names(planBatch([...decoding, starving], limits))[0]).toBe('s');
    expect(
      names(planBatch([...decoding, { ...starving, waitedSteps: STARVING_STEPS - 1 }], limits)),
    ).not.toContain('s');
  });
});

const anySequence = fc.record({
  phase: fc.constantFrom('prefill' as const, 'decode' as const),
  pendingRows: fc.oneof(fc.constant(0), fc.nat(300)),
  ownTokens: fc.nat(100),
  isResident: fc.boolean(),
  hopCount: fc.integer({ min: 1, max: 4 }),
  waitedSteps: fc.nat(STARVING_STEPS + 2),
  /** The first blocks, by number: sequences meet in them. */
  pinned: fc.uniqueArray(fc.nat(4), { maxLength: 3 }),
  sharesNext: fc.boolean(),
  idleMs: fc.nat(6000),
});
const anySequences = fc.array(anySequence, { maxLength: 30 }).map((entries) =>
  entries.map(
    ({ phase, pendingRows, ownTokens, isResident, pinned, sharesNext, idleMs, ...entry }, index) => {
      const ownBlocks = Array.from(
        { length: isResident ? Math.ceil(ownTokens / BLOCK_TOKENS) : 0 },
        (_, offset) => 100 * (index + 1) + offset,
      );
      // As after a fork: it holds the last block of the one before, and would write into it.
      const writesShared = isResident && sharesNext && index > 0 && ownTokens % BLOCK_TOKENS > 0;
      if (writesShared) ownBlocks[ownBlocks.length - 1] = 100 * index;
      const pinnedTokens = pinned.length * BLOCK_TOKENS;
      return sequence(String(index), phase, pendingRows, {
        ...entry,
        age: index,
        isResident,
        blocks: [...pinned, ...ownBlocks],
        pinnedBlocks: pinned.length,
        cacheLength: pinnedTokens + (isResident ? ownTokens : 0),
        knownTokens: pinnedTokens + ownTokens + pendingRows,
        writesShared,
        idleMs: pendingRows > 0 ? null : idleMs,
      });
    },
  ),
);
const anyLimits = fc.record({
  maxRows: fc.integer({ min: 1, max: 64 }),
  maxSequences: fc.integer({ min: 1, max: 12 }),
  prefillChunkRows: fc.integer({ min: 1, max: 80 }),
  freeBlocks: fc.nat(40),
  idleHoldMs: fc.constant(1000),
});

/** Blocks that nobody would hold any more if these gave up theirs. */
function freedBy(
  sequences: readonly PlannableSequence[],
  keptBy: (sequence: PlannableSequence) => readonly number[],
): number {
  const kept = new Set(sequences.flatMap(keptBy));
  return new Set(sequences.flatMap((each) => each.blocks).filter((block) => !kept.has(block))).size;
}

/** Blocks that there are for the planned rows, less those that they take. */
function blockBalance(
  plan: BatchPlan,
  sequences: readonly PlannableSequence[],
  { freeBlocks }: PlanLimits,
): number {
  const byId = new Map(sequences.map((each) => [each.requestId, each]));
  const taken = plan.rows.reduce((sum, { requestId, rowCount }) => {
    const each = byId.get(requestId);
    if (!each) return sum;
    const ends = Math.ceil((each.cacheLength + rowCount) / BLOCK_TOKENS);
    return sum + Math.max(0, ends - each.blocks.length) + (each.writesShared ? 1 : 0);
  }, 0);
  const freed = freedBy(sequences, ({ requestId, blocks: held, pinnedBlocks }) => {
    if (plan.ended.includes(requestId)) return [];
    return plan.preempted.includes(requestId) ? held.slice(0, pinnedBlocks) : held;
  });
  return freeBlocks + freed - taken;
}

describe('planBatch, whatever the sequences', () => {
  it('stays within every limit and plans a sequence once', () => {
    let preempted = 0;
    let ended = 0;
    fc.assert(
      fc.property(anySequences, anyLimits, (waiting, bounds) => {
        const plan = planBatch(waiting, bounds);
        preempted += plan.preempted.length;
        ended += plan.ended.length;
        const byId = new Map(waiting.map((each) => [each.requestId, each]));
        const lost = new Set([...plan.preempted, ...plan.ended]);
        expect(new Set(plan.rows.map(({ requestId }) => requestId)).size).toBe(plan.rows.length);
        expect(plan.rows.length).toBeLessThanOrEqual(bounds.maxSequences);
        expect(plan.rows.reduce((rows, { rowCount }) => rows + rowCount, 0)).toBeLessThanOrEqual(
          bounds.maxRows,
        );
        expect(blockBalance(plan, waiting, bounds)).toBeGreaterThanOrEqual(0);
        for (const { requestId, rowCount } of plan.rows) {
          const source = byId.get(requestId);
          expect(lost.has(requestId)).toBe(false);
          expect(rowCount).toBeGreaterThan(0);
          expect(rowCount).toBeLessThanOrEqual(
            Math.min(source?.pendingRows ?? 0, source?.phase === 'decode' ? 1 : bounds.prefillChunkRows),
          );
        }
        for (const requestId of lost) {
          const victim = byId.get(requestId);
          const youngestWinner = Math.max(
            ...waiting.filter(({ pendingRows }) => pendingRows > 0).map(({ age }) => age),
          );
          const isYounger = plan.rows.some(
            (row) => (byId.get(row.requestId)?.age ?? Infinity) < (victim?.age ?? -1),
          );
          expect(isYounger || ((victim?.idleMs ?? 0) >= bounds.idleHoldMs && youngestWinner >= 0)).toBe(true);
        }
        expect(new Set(lost).size).toBe(plan.preempted.length + plan.ended.length);
      }),
      { numRuns: 2000 },
    );
    expect(preempted).toBeGreaterThan(100);
    expect(ended).toBeGreaterThan(20);
  }, 30_000);

  it('is never empty while the oldest that has rows could have what younger ones hold', () => {
    fc.assert(
      fc.property(anySequences, anyLimits, (waiting, bounds) => {
        const plan = planBatch(waiting, bounds);
        const oldest = waiting.find(({ pendingRows }) => pendingRows > 0);
        if (!oldest || plan.rows.length > 0) return;
        const obtainable =
          bounds.freeBlocks + freedBy(waiting, ({ age, blocks: held }) => (age > oldest.age ? [] : held));
        const elders = waiting.filter(({ age, isResident }) => age < oldest.age && isResident);
        const blocksMissing = ({ knownTokens, blocks: held }: PlannableSequence) =>
          Math.ceil(knownTokens / BLOCK_TOKENS) - held.length;
        const promised = elders.reduce((sum, each) => sum + 1 + Math.max(0, blocksMissing(each)), 0);
        // The rows of one chunk begin and end somewhere in a block.
        const chunk = Math.ceil(Math.min(oldest.pendingRows, bounds.prefillChunkRows) / BLOCK_TOKENS) + 2;
        expect(oldest.isResident ? chunk : blocksMissing(oldest) + promised).toBeGreaterThan(obtainable);
      }),
      { numRuns: 2000 },
    );
  }, 30_000);

  it('lets nobody wait longer than the starving steps and its turn, while there are blocks', () => {
    fc.assert(
      fc.property(anySequences, anyLimits, (start, bounds) => {
        let turn = start.map((each) => ({
          ...each,
          waitedSteps: 0,
          pendingRows: Math.max(1, each.pendingRows),
        }));
        const plenty = { ...bounds, freeBlocks: 100_000 };
        for (let step = 0; step < 100; step++) {
          const { rows } = planBatch(turn, plenty);
          const served = new Set(rows.map(({ requestId }) => requestId));
          turn = [
            ...turn
              .filter(({ requestId }) => !served.has(requestId))
              .map((each) => ({ ...each, waitedSteps: each.waitedSteps + 1 })),
            // Whoever was served has rows again at once: the worst that can come to the others.
            ...turn
              .filter(({ requestId }) => served.has(requestId))
              .map((each) => ({ ...each, waitedSteps: 0, isResident: true })),
          ];
          for (const { waitedSteps } of turn) {
            // Its turn, and the turns of those that are to be admitted before it.
            expect(waitedSteps).toBeLessThanOrEqual(STARVING_STEPS + 2 * turn.length);
          }
        }
      }),
      { numRuns: 100 },
    );
  }, 30_000);
});
