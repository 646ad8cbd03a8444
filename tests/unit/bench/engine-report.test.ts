import { expect, it } from 'vitest';
import { caseChecks, caseRows } from '../../bench/engine/case-report.ts';
import { modelCost } from '../../bench/engine/model-cost.ts';
import type { EngineCaseResult } from '../../bench/engine/worker.ts';
import { summarize } from '../../bench/timing.ts';
import type { Checkpoint } from '../../../src/model/checkpoint.ts';
import { TINY_LLAMA, TINY_QWEN2 } from '../../fixtures/architectures.ts';

const engine = (name: string, decodeMs: number, prefillMs: number, answer = [1, 2, 3], logitsError = 0) => ({
  name,
  answer,
  logitsError,
  decode: summarize(name, [decodeMs]),
  prefill: summarize(name, [prefillMs]),
});
const result = (...engines: ReturnType<typeof engine>[]): EngineCaseResult => ({
  engines,
  adapterName: 'test',
  bound: { copyBytesPerSecond: 1e9, flopsPerSecond: 1e9 },
});
const failing = (of: EngineCaseResult, golden: readonly number[] | null = null) =>
  caseChecks('case', of, golden)
    .filter(({ holds }) => !holds)
    .map(({ name }) => name);

it('holds when outputs agree and ours is fast enough', () => {
  expect(failing(result(engine('ours', 10, 100), engine('other', 20, 150)), [1, 2, 3])).toEqual([]);
});

it('compares with the fastest of the others, at each of the two', () => {
  const others = [engine('other', 19, 300), engine('rounded', 40, 149)];
  expect(failing(result(engine('ours', 10, 100), ...others))).toEqual([
    'case: decode speed-up',
    'case: prefill speed-up',
  ]);
});

it('fails for another answer, also a longer one, and for logits too far apart', () => {
  const ours = engine('ours', 1, 1);
  expect(failing(result(ours, engine('other', 9, 9, [1, 2, 4])))).toEqual(['case: tokens that differ']);
  expect(failing(result(ours, engine('other', 9, 9, [1, 2, 3, 4])))).toEqual(['case: tokens that differ']);
  expect(failing(result(ours, engine('other', 9, 9, [1, 2, 3], 2e-4)))).toEqual(['case: logits error']);
  expect(failing(result(ours, engine('other', 9, 9, [1, 2, 3], NaN)))).toEqual(['case: logits error']);
  expect(failing(result(ours, engine('other', 9, 9)), [1, 2, 4])).toEqual([
    'case: tokens that differ from the golden ones',
  ]);
});

it('asks less of an engine that rounds, but not nothing', () => {
  const ours = engine('ours', 1, 1);
  const other = engine('other', 9, 9);
  expect(failing(result(ours, other, engine('rounded', 9, 9, [7], 0.05)))).toEqual([]);
  expect(failing(result(ours, other, engine('rounded', 9, 9, [7], 0.2)))).toEqual([
    'case: logits error of rounded',
  ]);
});

it('states speeds as shares of what the adapter can do', () => {
  const cost = { bytesPerToken: 5e6, prefillFlops: 2e7 };
  expect(caseRows('case', result(engine('ours', 10, 100)), cost)[0]).toMatchObject({
    '% of copy bandwidth': 50,
    '% of multiply-add rate': 20,
  });
});

it('counts what a pass reads and multiplies at least', async () => {
  const checkpoint = (architecture: Checkpoint['architecture']): Checkpoint => ({
    architecture,
    quantization: null,
    has: () => true,
    sizeBytes: () => Promise.resolve(1000),
    read: () => Promise.reject(new Error('nothing is read')),
  });
  // Qwen2: 40 hidden, 40 + 2 · 8 attention with biases, 72 wide, 4 layers, a tied vocabulary of 97.
  const layer = 40 * (40 + 8 + 8) + 40 * 40 + 3 * 40 * 72;
  const vectors = 2 * 40 + 40 + 8 + 8;
  const tied = await modelCost(checkpoint(TINY_QWEN2), 'f32', 10);
  expect(tied.bytesPerToken).toBe(4 * (4 * (layer + vectors) + 40 + 97 * 40));
  expect(tied.prefillFlops).toBe(2 * (10 * 4 * layer + 97 * 40));
  // Llama, not tied: the embedding is left out, the head counts. 3 layers of 9 tensors, a norm and the head.
  expect((await modelCost(checkpoint(TINY_LLAMA), 'int4', 1)).bytesPerToken).toBe(1000 * (3 * 9 + 2));
});
