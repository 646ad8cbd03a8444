import { beforeEach, describe, expect, it } from 'vitest';
import { timedSlice, TIMED_STEP_INTERVAL_MS } from '../../../src/contributor/timed-slice.ts';
import type { TimedSlice } from '../../../src/contributor/timed-slice.ts';
import type { BatchResult, RaggedBatch } from '../../../src/engine/batch.ts';
import { fakeSlice } from './fakes.ts';

const BATCH: RaggedBatch = { sequences: [], input: { kind: 'tokens', tokenIds: new Uint32Array() } };
const RESULT: BatchResult = { hiddenStates: null, sequences: [] };

let calls: string[];
let now: number;
let slice: TimedSlice;

beforeEach(() => {
  calls = [];
  now = 5;
  const plain = fakeSlice({
    forward: () => {
      calls.push('plain');
      return Promise.resolve(RESULT);
    },
    copyBlocks: (copies) => calls.push(`copy ${copies.length}`),
    dispose: () => calls.push('dispose slice'),
  });
  slice = timedSlice(
    plain,
    {
      forward: () => {
        calls.push('timed');
        const times = [{ kernel: `step ${calls.length}`, workgroups: [1, 1, 1] as const, ms: 2 }];
        return Promise.resolve({ result: RESULT, times });
      },
      dispose: () => calls.push('dispose timer'),
    },
    () => now,
  );
});

describe('timedSlice', () => {
  it('times the first step, and then one in each interval', async () => {
    expect(slice.kernelTimes).toEqual([]);
    expect(await slice.forward(BATCH)).toBe(RESULT);
    expect(slice.kernelTimes).toEqual([
      { kernel: 'step 1', workgroups: '1 × 1 × 1', dispatches: 1, ms: 2, share: 1 },
    ]);
    now += TIMED_STEP_INTERVAL_MS - 1;
    expect(await slice.forward(BATCH)).toBe(RESULT);
    now += 1;
    await slice.forward(BATCH);
    await slice.forward(BATCH);
    expect(calls).toEqual(['timed', 'plain', 'timed', 'plain']);
    expect(slice.kernelTimes[0]?.kernel).toBe('step 3');
  });

  it('is the slice in everything else', () => {
    const { hiddenSize, vocabSize, hasEmbedding, hasHead, blockCount, contextLength } = slice;
    expect([hiddenSize, vocabSize, hasEmbedding, hasHead, blockCount, contextLength]).toEqual([
      1,
      2,
      true,
      false,
      3,
      4,
    ]);
    expect([slice.maxBatchRows, slice.maxBatchSequences]).toEqual([5, 6]);
    slice.copyBlocks([{ from: 0, to: 1 }]);
    slice.dispose();
    expect(calls).toEqual(['copy 1', 'dispose timer', 'dispose slice']);
  });
});
