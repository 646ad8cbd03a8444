import { describe, expect, it, vi } from 'vitest';
import { BlockManager } from '../../../src/engine/block-manager.ts';
import { Executor } from '../../../src/engine/executor.ts';
import type { ExecutorOptions } from '../../../src/engine/executor.ts';
import type { RequestId } from '../../../src/protocol/ids.ts';
import type { StageInput, StageOutput } from '../../../src/protocol/stage.ts';
import { ManualClock } from '../mesh/manual-clock.ts';
import { ExecutorRoute, hashesOf, openRequest, requestId, settled } from './executor-route.ts';
import { expectedAnswer, hashTokens, RecordingSlice } from './recording-slice.ts';

const ids = (count: number, from = 0) => Array.from({ length: count }, (_, index) => from + index);

function tokens(tokenIds: readonly number[]): StageInput {
  return { kind: 'tokens', tokenIds: Uint32Array.from(tokenIds) };
}

/** An executor whose outputs are kept, by request. */
function listen(slice: RecordingSlice, options: ExecutorOptions = {}) {
  const clock = new ManualClock();
  const executor = new Executor(slice, { clock, ...options });
  const outputs: StageOutput[] = [];
  executor.onStep = (step) => {
    outputs.push(...step);
    return Promise.resolve();
  };
  const sampled = (id: RequestId) =>
    outputs.flatMap((output) => (output.kind === 'token' && output.requestId === id ? [output.tokenId] : []));
  const failures = () =>
    outputs.flatMap((output) => (output.kind === 'failed' ? [[output.requestId, output.error.code]] : []));
  return { clock, executor, outputs, sampled, failures };
}

describe('the prefix cache of an executor', () => {
  it('has the full blocks of a prompt as soon as they are computed, but never the last token', async () => {
    const { executor } = listen(new RecordingSlice(16));
    const prompt = ids(40);
    executor.open(openRequest(requestId(1), 40, 4, { blockHashes: hashesOf(prompt) }));
    const open = (id: number, text: readonly number[]) => {
      const { cachedTokens } = executor.open(
        openRequest(requestId(id), text.length, 4, { blockHashes: hashesOf(text) }),
      );
      executor.close(requestId(id));
      return cachedTokens;
    };
    expect(open(2, prompt)).toBe(0);
    executor.push(requestId(1), 0, tokens(prompt));
    await settled();
    expect(open(3, prompt)).toBe(32);
    expect(open(4, ids(33))).toBe(32);
    expect(open(5, ids(32))).toBe(16);
    expect(open(6, [...ids(16), 99, ...ids(23, 17)])).toBe(16);
    expect(open(7, ids(40, 1))).toBe(0);
  });

  it('is of one requester, and of one way that its rows came', () => {
    const route = new RecordingSlice(16);
    const { executor } = listen(route);
    const prompt = ids(20);
    const request = (id: number) => openRequest(requestId(id), 20, 4, { blockHashes: hashesOf(prompt) });
    executor.open(request(1), 'one way');
    executor.push(requestId(1), 0, tokens(prompt));
    return settled().then(() => {
      expect(executor.open(request(2), 'another').cachedTokens).toBe(0);
      expect(executor.open(request(3), 'one way').cachedTokens).toBe(16);
      expect(executor.open(request(4)).cachedTokens).toBe(0);
    });
  });

  it('keeps what a request leaves under the name of another scope, and under its own besides', async () => {
    const { executor } = listen(new RecordingSlice(16));
    const prompt = ids(40);
    const request = (id: number, length = 40) =>
      openRequest(requestId(id), length, 4, { blockHashes: hashesOf(ids(length)) });
    executor.open(request(1), 'one way');
    executor.push(requestId(1), 0, tokens(prompt));
    await settled();
    executor.close(requestId(1), hashesOf(prompt), 'private');
    expect(executor.open(request(2), 'another').cachedTokens).toBe(0);
    expect(executor.open(request(3), 'one way').cachedTokens).toBe(32);
    expect(executor.open(request(4), 'private', true).cachedTokens).toBe(32);
  });

  it('keeps nothing in a scope of one request alone when it ends, and gives up no block that others know', async () => {
    const { executor } = listen(new RecordingSlice(16));
    const request = (id: number) => openRequest(requestId(id), 80, 4, { blockHashes: hashesOf(ids(80)) });
    executor.open(openRequest(requestId(1), 40, 4, { blockHashes: hashesOf(ids(40)) }), 'one way');
    executor.push(requestId(1), 0, tokens(ids(40)));
    await settled();
    executor.close(requestId(1), hashesOf(ids(80)), 'private');
    expect(executor.open(request(2), 'private', true).cachedTokens).toBe(32);
    executor.push(requestId(2), 32, tokens(ids(48, 32)));
    await settled();
    executor.close(requestId(2), hashesOf(ids(80)));
    expect(executor.stats.freeBlocks).toBe(16);
    expect(executor.open(request(3), 'private', true).cachedTokens).toBe(0);
    // Only what one way computed is found there, and nothing that came of it afterwards.
    expect(executor.open(request(4), 'one way').cachedTokens).toBe(32);
  });

  it('hands a private scope on to the next, and leaves nothing in the one before', async () => {
    const { executor } = listen(new RecordingSlice(16));
    const request = (id: number) => openRequest(requestId(id), 80, 4, { blockHashes: hashesOf(ids(80)) });
    executor.open(request(1), 'private', true);
    executor.push(requestId(1), 0, tokens(ids(80)));
    await settled();
    executor.close(requestId(1), hashesOf(ids(80)), 'private too');
    expect(executor.open(request(2), 'private').cachedTokens).toBe(0);
    expect(executor.open(request(3), 'private too', true).cachedTokens).toBe(64);
  });

  it('keeps answers that are closed with their hashes, as far as they were computed', async () => {
    const route = new ExecutorRoute([16]);
    const prompt = ids(20);
    const [first] = await route.ask([{ prompt, maxTokens: 30 }]);
    const all = [...prompt, ...(first?.tokens ?? [])];
    // Of 50 tokens the last was sampled and never fed: 49 are in the cache, which are 3 full blocks.
    const [second] = await route.ask([{ prompt: [...all, 1, 2, 3], maxTokens: 4 }]);
    expect(second?.cachedTokens).toBe(48);
    expect(second?.tokens).toEqual(expectedAnswer([...all, 1, 2, 3], 4));
    expect(route.total('cachedTokens')).toBe(48);
  });

  it('believes no hashes that contradict those of the beginning, and needs none', async () => {
    const { executor, sampled } = listen(new RecordingSlice(16));
    const prompt = ids(40);
    const lie = [...hashesOf(ids(40, 7)), ...hashesOf(ids(40, 9))];
    for (const [id, closing] of [
      [1, lie],
      [2, []],
    ] as const) {
      executor.open(openRequest(requestId(id), 40, 4, { blockHashes: hashesOf(prompt).slice(0, 1) }));
      executor.push(requestId(id), 0, tokens(prompt));
      await settled();
      expect(sampled(requestId(id))).toEqual([hashTokens(prompt)]);
      executor.close(requestId(id), closing);
    }
    const found = (text: readonly number[]) => {
      const { cachedTokens } = executor.open(
        openRequest(requestId(9), text.length, 4, { blockHashes: hashesOf(text) }),
      );
      executor.close(requestId(9));
      return cachedTokens;
    };
    expect([found(ids(40)), found(ids(40, 7))]).toEqual([16, 0]);
  });

  it('does not let a request rename what follows blocks that it was opened with', async () => {
    const { executor } = listen(new RecordingSlice(16));
    const [first = '', second = ''] = hashesOf(ids(40));
    const [wrong = ''] = hashesOf(ids(40, 7));
    const found = (blockHashes: string[]) => {
      const { cachedTokens } = executor.open(openRequest(requestId(9), 40, 4, { blockHashes }));
      executor.close(requestId(9));
      return cachedTokens;
    };
    for (const [closing, expected] of [
      [[wrong, second], 16],
      [[first, second], 32],
    ] as const) {
      executor.open(openRequest(requestId(1), 40, 4, { blockHashes: [first] }));
      executor.push(requestId(1), 0, tokens(ids(40)));
      await settled();
      executor.close(requestId(1), closing);
      expect(found([first, second])).toBe(expected);
    }
  });

  it('takes the first rows at any block up to what it said, and gives up the rest', async () => {
    const slice = new RecordingSlice(16);
    const { executor, sampled } = listen(slice);
    const prompt = ids(60);
    const request = (id: number) => openRequest(requestId(id), 60, 2, { blockHashes: hashesOf(prompt) });
    executor.open(request(1));
    executor.push(requestId(1), 0, tokens(prompt));
    await settled();
    executor.close(requestId(1));
    for (const [index, position] of [48, 16, 32, 0].entries()) {
      const id = requestId(10 + index);
      expect(executor.open(request(10 + index)).cachedTokens).toBe(48);
      const rowsBefore = executor.stats.rowsComputed;
      executor.push(id, position, tokens(prompt.slice(position)));
      await settled();
      expect(sampled(id)).toEqual([hashTokens(prompt)]);
      expect(executor.stats.rowsComputed - rowsBefore).toBe(60 - position);
      executor.close(id);
    }
    expect(executor.stats.cachedTokens).toBe(48 + 16 + 32);
    expect(executor.stats.freeBlocks).toBe(16);
  });

  it.each([
    ['inside a block', 8],
    ['past what is cached', 48],
  ])('refuses first rows %s', async (_, position) => {
    const { executor } = listen(new RecordingSlice(16));
    const prompt = ids(60);
    executor.open(openRequest(requestId(1), 40, 2, { blockHashes: hashesOf(ids(40)) }));
    executor.push(requestId(1), 0, tokens(ids(40)));
    await settled();
    const { cachedTokens } = executor.open(
      openRequest(requestId(2), 60, 2, { blockHashes: hashesOf(prompt) }),
    );
    expect(cachedTokens).toBe(32);
    expect(() => executor.push(requestId(2), position, tokens(prompt.slice(position)))).toThrow(
      expect.objectContaining({ code: 'bad-frame' }),
    );
  });

  it('keeps the blocks it said are there, however little room there is', async () => {
    const { executor, sampled, failures } = listen(new RecordingSlice(6));
    const prompt = ids(34);
    executor.open(openRequest(requestId(1), 34, 2, { blockHashes: hashesOf(prompt) }));
    executor.push(requestId(1), 0, tokens(prompt));
    await settled();
    executor.close(requestId(1));
    expect(
      executor.open(openRequest(requestId(2), 34, 2, { blockHashes: hashesOf(prompt) })).cachedTokens,
    ).toBe(32);
    const other = ids(60, 500);
    executor.open(openRequest(requestId(3), 60, 4));
    executor.push(requestId(3), 0, tokens(other));
    await settled();
    expect(sampled(requestId(3))).toEqual([hashTokens(other)]);
    executor.close(requestId(3));
    executor.push(requestId(2), 32, tokens(prompt.slice(32)));
    await settled();
    expect(sampled(requestId(2))).toEqual([hashTokens(prompt)]);
    expect(failures()).toEqual([]);
  });
});

describe('shared blocks', () => {
  it('are copied before one of two sequences writes on in the middle of a block', async () => {
    const slice = new RecordingSlice(16);
    const blocks = new BlockManager(16);
    const opened = vi.spyOn(blocks, 'open');
    const { executor, sampled } = listen(slice, { blocks });
    const prompt = ids(20);
    executor.open(openRequest(requestId(1), 20, 9));
    executor.push(requestId(1), 0, tokens(prompt));
    await settled();
    const table = opened.mock.results[0]?.value as ReturnType<BlockManager['open']>;
    const fork = blocks.fork(table);
    const shared = [...fork.blocks];
    executor.push(requestId(1), 20, tokens([77]));
    await settled();
    expect(sampled(requestId(1))).toEqual([hashTokens(prompt), hashTokens([...prompt, 77])]);
    expect(slice.copies).toBe(1);
    expect(fork.blocks).toEqual(shared);
    expect(table.blocks[0]).toBe(shared[0]);
    expect(table.blocks[1]).not.toBe(shared[1]);
    executor.push(requestId(1), 21, tokens([78]));
    await settled();
    expect(slice.copies).toBe(1);
    executor.close(requestId(1));
    blocks.close(fork);
    expect(blocks.freeCount).toBe(16);
  });
});

describe('a paused request', () => {
  it('computes nothing of what comes, and all of it afterwards; others go on', async () => {
    const { executor, sampled } = listen(new RecordingSlice(16));
    for (const id of [1, 2]) executor.open(openRequest(requestId(id), 20, 4));
    executor.pause(requestId(1), true);
    executor.pause(requestId(9), true);
    for (const id of [1, 2]) executor.push(requestId(id), 0, tokens(ids(20)));
    await settled();
    expect([sampled(requestId(1)), sampled(requestId(2)).length, executor.stats.rowsComputed]).toEqual([
      [],
      1,
      20,
    ]);
    executor.pause(requestId(1), false);
    await settled();
    expect(sampled(requestId(1))).toEqual(expectedAnswer(ids(20), 1));
    expect(executor.pace.steps).toBe(executor.stats.steps);
  });

  it('gives its blocks up to others when it is paused for long', async () => {
    const { clock, executor, sampled } = listen(new RecordingSlice(4), { idleHoldMs: 100 });
    executor.open(openRequest(requestId(1), 40, 4));
    executor.push(requestId(1), 0, tokens(ids(40)));
    await settled();
    executor.pause(requestId(1), true);
    executor.push(requestId(1), 40, tokens([sampled(requestId(1))[0] ?? 0]));
    executor.open(openRequest(requestId(2), 40, 4));
    executor.push(requestId(2), 0, tokens(ids(40, 5)));
    await settled();
    expect(sampled(requestId(2))).toEqual([]);
    clock.advance(100);
    await settled();
    expect(sampled(requestId(2))).toEqual(expectedAnswer(ids(40, 5), 1));
    executor.close(requestId(2));
    executor.pause(requestId(1), false);
    await settled();
    expect(sampled(requestId(1))).toEqual(expectedAnswer(ids(40), 2));
  });
});

describe('a preempted request', () => {
  it('is found again by the names it is closed with, as far as nobody took its blocks', async () => {
    const { executor } = listen(new RecordingSlice(6));
    const long = openRequest(requestId(2), 60, 4);
    executor.open(long);
    const prompt = ids(40, 100);
    executor.open(openRequest(requestId(3), 40, 4, { blockHashes: hashesOf(prompt).slice(0, 1) }), 'way');
    executor.push(requestId(3), 0, tokens(prompt));
    await settled();
    executor.push(requestId(2), 0, tokens(ids(60)));
    await settled();
    expect(executor.stats.preemptions).toBe(1);
    executor.close(requestId(3), hashesOf(prompt), 'private');
    const again = openRequest(requestId(4), 41, 4, { blockHashes: hashesOf(prompt) });
    // Of its three blocks the last went to the older one; of the two full ones, as many as are still there are found.
    expect(executor.open(again, 'private', true).cachedTokens).toBeGreaterThan(0);
  });

  it('takes back what nobody used, and is named at its end as if nothing had been', async () => {
    const { executor, sampled } = listen(new RecordingSlice(9));
    const prompts = [ids(60), ids(60, 100)];
    prompts.forEach((prompt, index) => {
      executor.open(openRequest(requestId(index), 60, 40));
      executor.push(requestId(index), 0, tokens(prompt));
    });
    await settled();
    // The older one grows into a sixth block.
    for (let position = 60; position <= 80; position++) {
      executor.push(requestId(0), position, tokens([position]));
      await settled();
    }
    expect(executor.stats).toMatchObject({ preemptions: 1, waitingSequences: 1, rowsRecomputed: 0 });
    executor.close(requestId(0));
    await settled();
    expect(executor.stats.rowsRecomputed).toBe(0);
    executor.push(requestId(1), 60, tokens([7, 8, 9, 10]));
    await settled();
    // Three of its blocks were full, and still there; the rows of the fourth were computed again.
    expect(executor.stats).toMatchObject({ rowsRecomputed: 12, waitingSequences: 0 });
    const all = [...ids(60, 100), 7, 8, 9, 10];
    expect(sampled(requestId(1))).toEqual(
      [60, 61, 62, 63, 64].map((length) => hashTokens(all.slice(0, length))),
    );
    executor.close(requestId(1), hashesOf(all));
    const again = openRequest(requestId(2), 70, 4, { blockHashes: hashesOf([...all, ...ids(6)]) });
    expect(executor.open(again).cachedTokens).toBe(64);
  });
});

describe('requests that end early', () => {
  it('are failed with timeout at their time limit, wherever they stand, and free at once', async () => {
    const { clock, executor, failures } = listen(new RecordingSlice(4));
    executor.open(openRequest(requestId(1), 40, 4, { timeLimitMs: 1000 }));
    executor.open(openRequest(requestId(2), 40, 4, { timeLimitMs: 500 }));
    executor.open(openRequest(requestId(3), 40, 4, { timeLimitMs: 9000 }));
    for (const id of [1, 2]) executor.push(requestId(id), 0, tokens(ids(40, id * 100)));
    await settled();
    expect(executor.stats).toMatchObject({ activeSequences: 3, waitingSequences: 1 });
    clock.advance(499);
    await settled();
    expect(failures()).toEqual([]);
    clock.advance(1);
    await settled();
    expect(failures()).toEqual([[requestId(2), 'timeout']]);
    clock.advance(500);
    await settled();
    expect(failures()).toEqual([
      [requestId(2), 'timeout'],
      [requestId(1), 'timeout'],
    ]);
    expect(executor.stats).toMatchObject({ activeSequences: 1, freeBlocks: 4, logBytes: 0 });
    // Whoever feeds it may not have heard yet.
    executor.push(requestId(1), 40, tokens([1]));
    for (const id of [1, 2, 3]) executor.close(requestId(id));
    expect(clock.pendingTimers).toBe(0);
  });

  it('fails whoever brings more than may be kept, and takes nobody while that much is kept', async () => {
    const { executor, failures, sampled } = listen(new RecordingSlice(64), { maxLogBytes: 1000 });
    executor.open(openRequest(requestId(1), 100, 4));
    executor.push(requestId(1), 0, tokens(ids(100)));
    executor.open(openRequest(requestId(2), 100, 4));
    executor.push(requestId(2), 0, tokens(ids(100)));
    await settled();
    expect(failures()).toEqual([[requestId(2), 'busy']]);
    expect(sampled(requestId(1))).toHaveLength(1);
    expect(executor.stats.logBytes).toBe(528);
    executor.close(requestId(1));
    executor.close(requestId(2));
    expect(executor.stats.logBytes).toBe(0);
    const full = listen(new RecordingSlice(64), { maxLogBytes: 528 });
    full.executor.open(openRequest(requestId(1), 100, 4));
    full.executor.push(requestId(1), 0, tokens(ids(100)));
    expect(() => full.executor.open(openRequest(requestId(2), 8, 4))).toThrow(
      expect.objectContaining({ code: 'busy' }),
    );
    await settled();
    expect(full.failures()).toEqual([]);
  });

  it('may be closed while a pass writes their blocks, which the next pass may use', async () => {
    const slice = new RecordingSlice(3);
    let letGo: () => void = () => undefined;
    slice.gate = () => new Promise((resolve) => (letGo = resolve));
    const { executor, sampled } = listen(slice);
    executor.open(openRequest(requestId(1), 40, 4, { blockHashes: hashesOf(ids(40)) }));
    executor.push(requestId(1), 0, tokens(ids(40)));
    await settled();
    executor.close(requestId(1), hashesOf(ids(40)));
    expect(executor.stats.freeBlocks).toBe(3);
    // Nothing of the pass that is not over may be found.
    const other = openRequest(requestId(2), 40, 4, { blockHashes: hashesOf(ids(40)) });
    expect(executor.open(other).cachedTokens).toBe(0);
    executor.push(requestId(2), 0, tokens(ids(40)));
    slice.gate = () => Promise.resolve();
    letGo();
    await settled();
    expect(sampled(requestId(1))).toEqual([]);
    expect(sampled(requestId(2))).toEqual([hashTokens(ids(40))]);
  });

  it('leave no name of theirs in the cache when a pass fails', async () => {
    const slice = new RecordingSlice(8);
    const { executor, failures } = listen(slice);
    const request = (id: number) => openRequest(requestId(id), 40, 4, { blockHashes: hashesOf(ids(40)) });
    slice.failNext = new Error('boom');
    executor.open(request(1));
    executor.push(requestId(1), 0, tokens(ids(40)));
    await settled();
    expect(failures()).toEqual([[requestId(1), 'internal']]);
    executor.close(requestId(1), hashesOf(ids(40)));
    expect(executor.open(request(2)).cachedTokens).toBe(0);
    expect(executor.stats.freeBlocks).toBe(8);
  });
});

describe('what an executor says of itself', () => {
  it('traces its passes, and counts requests that wait for room', async () => {
    const slice = new RecordingSlice(4);
    const { clock, executor } = listen(slice);
    slice.gate = () => {
      clock.advance(5);
      return Promise.resolve();
    };
    for (const id of [1, 2]) {
      executor.open(openRequest(requestId(id), 40, 4));
      executor.push(requestId(id), 0, tokens(ids(40)));
    }
    await settled();
    expect(executor.trace).toEqual([
      { startMs: 0, endMs: 5, rows: 24, sequences: 1 },
      { startMs: 5, endMs: 10, rows: 16, sequences: 1 },
    ]);
    expect(executor.stats).toMatchObject({ waitingSequences: 1, busyMs: 10, steps: 2, rowsComputed: 40 });
    executor.close(requestId(1));
    await settled();
    expect(executor.stats).toMatchObject({ waitingSequences: 0, steps: 4, rowsComputed: 80 });
  });
});
