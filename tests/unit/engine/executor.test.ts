import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Executor } from '../../../src/engine/executor.ts';
import { SkeinError } from '../../../src/protocol/errors.ts';
import type { RequestId } from '../../../src/protocol/ids.ts';
import type { StageOutput } from '../../../src/protocol/stage.ts';
import { openRequest, requestId, settled } from './executor-route.ts';
import { expectedAnswer, hashTokens, RecordingSlice } from './recording-slice.ts';

/** Feeds every sampled token back, as the ring does, until each request has its tokens. */
function runRing(
  executor: Executor,
  prompts: ReadonlyMap<RequestId, readonly number[]>,
  maxTokens: number,
  failures: StageOutput[] = [],
): Promise<Map<RequestId, number[]>> {
  const answers = new Map(Array.from(prompts.keys(), (id) => [id, [] as number[]]));
  return new Promise((resolve) => {
    let running = prompts.size;
    const end = (id: RequestId): void => {
      executor.close(id);
      if (--running === 0) resolve(answers);
    };
    executor.onStep = (outputs) => {
      for (const output of outputs) {
        if (output.kind === 'token') {
          const answer = answers.get(output.requestId) ?? [];
          answer.push(output.tokenId);
          if (answer.length === maxTokens) end(output.requestId);
          else
            executor.push(output.requestId, output.position, {
              kind: 'tokens',
              tokenIds: Uint32Array.of(output.tokenId),
            });
        } else {
          failures.push(output);
          end(output.requestId);
        }
      }
      return Promise.resolve();
    };
    for (const [id, prompt] of prompts) {
      executor.open(openRequest(id, prompt.length, maxTokens));
      executor.push(id, 0, { kind: 'tokens', tokenIds: Uint32Array.from(prompt) });
    }
  });
}

describe('Executor', () => {
  it('gives every request the answer it has alone, whatever the company and the chunking', async () => {
    const prompts = fc.array(fc.array(fc.nat(1000), { minLength: 1, maxLength: 90 }), {
      minLength: 1,
      maxLength: 9,
    });
    await fc.assert(
      fc.asyncProperty(prompts, fc.constantFrom(1, 7, 16, 64), async (texts, prefillChunkRows) => {
        const slice = new RecordingSlice(80);
        const executor = new Executor(slice, { prefillChunkRows });
        const requests = new Map(texts.map((prompt, index) => [requestId(index), prompt]));
        const answers = await runRing(executor, requests, 5);
        for (const [id, prompt] of requests) expect(answers.get(id)).toEqual(expectedAnswer(prompt, 5));
        for (const { sequences } of slice.batches) {
          const rows = sequences.reduce((sum, { rowCount }) => sum + rowCount, 0);
          expect(rows).toBeLessThanOrEqual(slice.maxBatchRows);
          expect(sequences.length).toBeLessThanOrEqual(slice.maxBatchSequences);
        }
        expect(executor.stats.activeSequences).toBe(0);
        executor.open(openRequest(requestId(99), 500, 12));
      }),
      { numRuns: 60 },
    );
  });

  it('samples at the end of the prompt even when later rows came with it', async () => {
    const executor = new Executor(new RecordingSlice(8));
    const positions = await new Promise<number[]>((resolve) => {
      const sampled: number[] = [];
      executor.onStep = (outputs) => {
        sampled.push(...outputs.flatMap((output) => (output.kind === 'token' ? [output.position] : [])));
        if (sampled.at(-1) === 5) resolve(sampled);
        return Promise.resolve();
      };
      executor.open(openRequest(requestId(1), 3, 4));
      executor.push(requestId(1), 0, { kind: 'tokens', tokenIds: Uint32Array.of(1, 2, 3, 4, 5) });
    });
    expect(positions).toEqual([3, 4, 5]);
  });

  it('mixes a decode token and a prefill chunk in one pass', async () => {
    const slice = new RecordingSlice(64);
    const prompts = new Map([
      [requestId(1), [5]],
      [requestId(2), Array.from({ length: 60 }, (_, index) => index)],
    ]);
    await runRing(new Executor(slice, { prefillChunkRows: 8 }), prompts, 4);
    const mixed = slice.batches.filter(
      ({ sequences }) =>
        sequences.some(({ rowCount }) => rowCount === 1) && sequences.some(({ rowCount }) => rowCount === 8),
    );
    expect(mixed.length).toBeGreaterThan(0);
  });

  it('says busy when it has as many requests as it takes, and takes one more once another ends', () => {
    const executor = new Executor(new RecordingSlice(4), { maxOpenSequences: 1 });
    executor.open(openRequest(requestId(1), 40, 8));
    expect(() => executor.open(openRequest(requestId(2), 40, 8))).toThrow(
      expect.objectContaining({ code: 'busy' }),
    );
    executor.close(requestId(1));
    executor.open(openRequest(requestId(2), 40, 8));
  });

  it('refuses what can never fit, and says the limit', () => {
    const executor = new Executor(new RecordingSlice(4));
    expect(() => executor.open(openRequest(requestId(1), 60, 5))).toThrow(/64 this stage holds/);
    const wide = new Executor(new RecordingSlice(100));
    expect(() => wide.open(openRequest(requestId(1), 500, 13))).toThrow(/512 this stage holds/);
  });

  it.each([
    ['a gap', 3, Uint32Array.of(1)],
    ['no rows', 0, new Uint32Array(0)],
    ['rows past the reservation', 0, new Uint32Array(7)],
  ])('refuses %s', (_, position, tokenIds) => {
    const executor = new Executor(new RecordingSlice(8));
    executor.open(openRequest(requestId(1), 4, 2));
    expect(() => executor.push(requestId(1), position, { kind: 'tokens', tokenIds })).toThrow(
      expect.objectContaining({ code: 'bad-frame' }),
    );
  });

  it('refuses unknown requests, a second open, and activations where tokens belong', () => {
    const executor = new Executor(new RecordingSlice(8));
    const badFrame = expect.objectContaining({ code: 'bad-frame' }) as unknown;
    expect(() => executor.push(requestId(1), 0, { kind: 'tokens', tokenIds: Uint32Array.of(1) })).toThrow(
      badFrame,
    );
    executor.open(openRequest(requestId(1), 4, 2));
    expect(() => executor.open(openRequest(requestId(1), 4, 2))).toThrow(badFrame);
    expect(() =>
      executor.push(requestId(1), 0, { kind: 'activations', rows: 1, values: new Float32Array(4) }),
    ).toThrow(badFrame);
  });

  it('refuses a token outside the vocabulary, and nobody else notices', async () => {
    const executor = new Executor(new RecordingSlice(16));
    executor.open(openRequest(requestId(1), 2, 2));
    expect(() =>
      executor.push(requestId(1), 0, { kind: 'tokens', tokenIds: Uint32Array.of(1, 50_000) }),
    ).toThrow(expect.objectContaining({ code: 'bad-frame' }));
    const answers = await runRing(executor, new Map([[requestId(2), [1, 2]]]), 3);
    expect(answers.get(requestId(2))).toEqual(expectedAnswer([1, 2], 3));
  });

  it('gives a request opened anew nothing of what was computed for the old one', async () => {
    const executor = new Executor(new RecordingSlice(16));
    const positions: number[] = [];
    let letGo: () => void = () => undefined;
    const firstStepSent = new Promise<void>((resolve) => (letGo = resolve));
    let steps = 0;
    const secondAnswered = new Promise<void>((resolve) => {
      executor.onStep = (outputs) => {
        steps += 1;
        positions.push(...outputs.flatMap((output) => (output.kind === 'token' ? [output.position] : [])));
        if (steps === 1) {
          // While the first step is on its way, the second is computed, and its request closed and opened anew.
          executor.push(requestId(1), 3, { kind: 'tokens', tokenIds: Uint32Array.of(4) });
          setTimeout(() => {
            executor.close(requestId(1));
            executor.open(openRequest(requestId(1), 1, 3));
            executor.push(requestId(1), 0, { kind: 'tokens', tokenIds: Uint32Array.of(9) });
            letGo();
          });
          return firstStepSent;
        }
        if (positions.includes(1)) resolve();
        return Promise.resolve();
      };
      executor.open(openRequest(requestId(1), 3, 3));
      executor.push(requestId(1), 0, { kind: 'tokens', tokenIds: Uint32Array.of(1, 2, 3) });
    });
    await secondAnswered;
    expect(executor.stats.steps).toBe(3);
    expect(positions).toEqual([3, 1]);
  });

  it('gives a request opened anew during a pass nothing of what the pass computed for the old one', async () => {
    const slice = new RecordingSlice(16);
    let letGo: () => void = () => undefined;
    slice.gate = () => new Promise((resolve) => (letGo = resolve));
    const executor = new Executor(slice);
    const outputs: StageOutput[] = [];
    executor.onStep = (step) => {
      outputs.push(...step);
      return Promise.resolve();
    };
    executor.open(openRequest(requestId(1), 3, 3));
    executor.push(requestId(1), 0, { kind: 'tokens', tokenIds: Uint32Array.of(1, 2, 3) });
    await settled();
    executor.close(requestId(1));
    executor.open(openRequest(requestId(1), 1, 3));
    slice.gate = () => Promise.resolve();
    letGo();
    await settled();
    expect(outputs).toEqual([]);
    executor.push(requestId(1), 0, { kind: 'tokens', tokenIds: Uint32Array.of(9) });
    await settled();
    expect(outputs).toEqual([expect.objectContaining({ position: 1, tokenId: hashTokens([9]) })]);
  });

  it('fails the requests of a broken pass and goes on with others', async () => {
    const slice = new RecordingSlice(16);
    const executor = new Executor(slice);
    slice.failNext = new Error('boom');
    const failures: StageOutput[] = [];
    await runRing(executor, new Map([[requestId(1), [1, 2]]]), 3, failures);
    expect(failures).toEqual([expect.objectContaining({ kind: 'failed', requestId: requestId(1) })]);
    const answers = await runRing(executor, new Map([[requestId(2), [1, 2]]]), 3);
    expect(answers.get(requestId(2))).toEqual(expectedAnswer([1, 2], 3));
  });

  it('takes no more requests once the device is lost', async () => {
    const slice = new RecordingSlice(16);
    const executor = new Executor(slice);
    slice.failNext = new SkeinError('device-lost', 'gone');
    await runRing(executor, new Map([[requestId(1), [1]]]), 3);
    expect(() => executor.open(openRequest(requestId(2), 1, 1))).toThrow(/gone/);
  });

  it('drops the result of a request closed while the GPU computed it', async () => {
    const executor = new Executor(new RecordingSlice(16));
    const outputs: StageOutput[] = [];
    const secondAnswered = new Promise<void>((resolve) => {
      executor.onStep = (step) => {
        outputs.push(...step);
        if (step.some((output) => output.requestId === requestId(2))) resolve();
        return Promise.resolve();
      };
    });
    for (const id of [requestId(1), requestId(2)]) {
      executor.open(openRequest(id, 1, 3));
      executor.push(id, 0, { kind: 'tokens', tokenIds: Uint32Array.of(1) });
      // The pass is planned in the microtask after the push.
      await Promise.resolve();
      if (id === requestId(1)) executor.close(id);
    }
    await secondAnswered;
    expect(executor.stats.rowsComputed).toBe(2);
    expect(outputs.map((output) => output.requestId)).toEqual([requestId(2)]);
  });
});
