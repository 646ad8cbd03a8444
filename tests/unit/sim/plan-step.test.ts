import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { planBatch } from '../../../src/engine/plan.ts';
import type { PlannableSequence } from '../../../src/engine/plan.ts';
import type { PeerId, RequestId } from '../../../src/protocol/ids.ts';
import { planStep } from '../../sim/plan-step.ts';
import type { Batching } from '../../sim/policy.ts';
import type { Run } from '../../sim/run.ts';
import { BLOCK_TOKENS, blocksOf, decodes, pendingRows } from '../../sim/stage-sequence.ts';
import type { StageSequence } from '../../sim/stage-sequence.ts';

const BATCHING: Extract<Batching, { kind: 'continuous' }> = {
  kind: 'continuous',
  first: 'decode',
  maxRows: 48,
  maxSequences: 6,
  prefillChunkRows: 16,
  decodeRows: 'share',
};
const LAYERS = 3;

interface Drawn {
  readonly prompt: number;
  readonly cached: number;
  readonly pending: number;
  readonly hops: number;
  readonly isResident: boolean;
  readonly waited: number;
}

function sequenceOf(drawn: Drawn, age: number): StageSequence {
  const hop = { peer: 'a'.repeat(32) as PeerId, layerStart: 0, layerEnd: LAYERS };
  const cachedRows = drawn.isResident ? drawn.cached : 0;
  const isDecode = cachedRows >= drawn.prompt;
  const knownRows = isDecode
    ? cachedRows + Math.min(1, drawn.pending)
    : Math.min(drawn.prompt, cachedRows + drawn.pending);
  const run = {
    hops: Array.from({ length: drawn.hops }, () => hop),
    age,
    promptRows: drawn.prompt,
  } as unknown as Run;
  return {
    run,
    hop,
    hopIndex: 0,
    layers: LAYERS,
    knownRows,
    cachedRows,
    emittedRows: cachedRows,
    blocks: blocksOf(cachedRows),
    isResident: drawn.isResident,
    waitedSteps: drawn.waited,
    waitsSince: age,
  };
}

/** The same, as the executor's planner sees it. */
function plannableOf(sequence: StageSequence, index: number): PlannableSequence {
  const { run, knownRows, cachedRows, blocks, isResident } = sequence;
  return {
    requestId: index.toString(16).padStart(16, '0') as RequestId,
    age: run.age,
    isResident,
    cacheLength: cachedRows,
    blocks: Array.from({ length: blocks }, (_, block) => index * 1000 + block),
    pinnedBlocks: 0,
    knownTokens: Math.max(knownRows, run.promptRows),
    writesShared: false,
    idleMs: null,
    pendingRows: pendingRows(sequence),
    phase: decodes(sequence) ? 'decode' : 'prefill',
    hopCount: run.hops.length,
    waitedSteps: sequence.waitedSteps,
  };
}

const drawnSequences = fc.array(
  fc.record({
    prompt: fc.integer({ min: 1, max: 60 }),
    cached: fc.integer({ min: 0, max: 80 }),
    pending: fc.integer({ min: 0, max: 60 }),
    hops: fc.integer({ min: 1, max: 4 }),
    isResident: fc.boolean(),
    waited: fc.integer({ min: 0, max: 10 }),
  }),
  { minLength: 1, maxLength: 14 },
);

describe('a simulated step', () => {
  test('has the rows that the executor’s planner picks, with much room and with little', () => {
    let compared = 0;
    let withPreemption = 0;
    fc.assert(
      fc.property(
        drawnSequences,
        fc.integer({ min: 0, max: 30 }),
        fc.uint8Array({ minLength: 14, maxLength: 14 }),
        (drawn, freeBlocks, order) => {
          const ages = drawn
            .map((_, index) => index)
            .sort((a, b) => (order[a] ?? 0) - (order[b] ?? 0) || a - b);
          const sequences = drawn.map((each, index) => sequenceOf(each, ages[index] ?? 0));
          const plannable = sequences.map(plannableOf);
          const ours = planStep(sequences, BATCHING, freeBlocks * BLOCK_TOKENS * LAYERS);
          const theirs = planBatch(plannable, {
            maxRows: BATCHING.maxRows,
            maxSequences: BATCHING.maxSequences,
            prefillChunkRows: BATCHING.prefillChunkRows ?? 0,
            freeBlocks,
            idleHoldMs: 1000,
          });
          const idOf = (sequence: StageSequence) => plannable[sequences.indexOf(sequence)]?.requestId;
          expect(
            ours.rows.map(({ sequence, rows }) => ({ requestId: idOf(sequence), rowCount: rows })),
          ).toEqual(theirs.rows);
          expect(new Set(ours.preempted.map(idOf))).toEqual(new Set(theirs.preempted));
          compared += theirs.rows.length;
          if (theirs.preempted.length > 0) withPreemption += 1;
        },
      ),
      { numRuns: 2000, seed: 4 },
    );
    expect(compared).toBeGreaterThan(1000);
    expect(withPreemption).toBeGreaterThan(50);
  });

  test('takes one request at a time where they share nothing: whoever waits longest', () => {
    const drawn = { prompt: 40, cached: 40, pending: 1, hops: 2, isResident: true, waited: 0 };
    const sequences = [3, 1, 2].map((age) => sequenceOf(drawn, age));
    const plan = planStep(sequences, { kind: 'separate', prefillChunkRows: null }, 1e6);
    expect(plan.rows.map(({ sequence, rows }) => [sequence.run.age, rows])).toEqual([[1, 1]]);
  });

  test('says who can never find room', () => {
    const sequence = sequenceOf(
      { prompt: 100, cached: 0, pending: 100, hops: 1, isResident: false, waited: 0 },
      0,
    );
    expect(planStep([sequence], BATCHING, 3 * BLOCK_TOKENS * LAYERS).hopeless).toEqual([sequence]);
    expect(planStep([sequence], BATCHING, 7 * BLOCK_TOKENS * LAYERS).hopeless).toEqual([]);
  });
});
