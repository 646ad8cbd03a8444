import { beforeEach, expect, it } from 'vitest';
import { watchedSlice } from '../../../src/contributor/watched-slice.ts';
import type { BatchResult, RaggedBatch, Slice } from '../../../src/engine/batch.ts';
import { SkeinError } from '../../../src/protocol/errors.ts';
import { STEP_TIMEOUT_MS } from '../../../src/protocol/limits.ts';
import { ManualClock } from '../mesh/manual-clock.ts';
import { deferred, fakeSlice } from './fakes.ts';
import type { Deferred } from './fakes.ts';

const BATCH: RaggedBatch = { sequences: [], input: { kind: 'tokens', tokenIds: new Uint32Array() } };
const RESULT: BatchResult = { hiddenStates: null, sequences: [] };

let clock: ManualClock;
let losses: SkeinError[];
let passes: Deferred<BatchResult>[];
let calls: string[];
let slice: Slice;

beforeEach(() => {
  clock = new ManualClock();
  losses = [];
  passes = [];
  calls = [];
  const plain = fakeSlice({
    forward: () => {
      const pass = deferred<BatchResult>();
      passes.push(pass);
      return pass.promise;
    },
    copyBlocks: (copies) => calls.push(`copy ${copies.length}`),
    dispose: () => calls.push('dispose'),
  });
  slice = watchedSlice(plain, clock, (error) => losses.push(error));
});

it('says when a pass takes longer than anybody waits, and only then', async () => {
  const first = slice.forward(BATCH);
  clock.advance(STEP_TIMEOUT_MS - 1);
  passes[0]?.resolve(RESULT);
  expect(await first).toBe(RESULT);
  clock.advance(STEP_TIMEOUT_MS);
  expect(losses).toEqual([]);
  expect(clock.pendingTimers).toBe(0);

  const second = slice.forward(BATCH);
  clock.advance(STEP_TIMEOUT_MS);
  expect(losses).toMatchObject([{ code: 'device-lost', data: { reason: 'hung' } }]);
  passes[1]?.resolve(RESULT);
  expect(await second).toBe(RESULT);
});

it('says when a pass finds the device lost', async () => {
  const error = new SkeinError('device-lost', 'gone');
  const pass = slice.forward(BATCH);
  passes[0]?.reject(error);
  await expect(pass).rejects.toBe(error);
  expect(losses).toEqual([error]);
  expect(clock.pendingTimers).toBe(0);
});

it('says nothing of a pass that failed for another reason', async () => {
  const pass = slice.forward(BATCH);
  passes[0]?.reject(new Error('no'));
  await expect(pass).rejects.toThrow('no');
  clock.advance(STEP_TIMEOUT_MS);
  expect(losses).toEqual([]);
});

it('is the slice in all else', () => {
  const { hiddenSize, vocabSize, hasEmbedding, hasHead } = slice;
  expect([hiddenSize, vocabSize, hasEmbedding, hasHead]).toEqual([1, 2, true, false]);
  const { blockCount, contextLength, maxBatchRows, maxBatchSequences } = slice;
  expect([blockCount, contextLength, maxBatchRows, maxBatchSequences]).toEqual([3, 4, 5, 6]);
  slice.copyBlocks([]);
  slice.dispose();
  expect(calls).toEqual(['copy 0', 'dispose']);
});
