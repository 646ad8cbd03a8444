import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Work } from '../../../../src/client/connect/work.ts';
import { SkeinError } from '../../../../src/protocol/errors.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe('work under way', () => {
  it('ends with its caller, and with nobody else', () => {
    const work = new Work();
    const mine = new AbortController();
    const [first, second] = [work.begin([mine.signal, undefined]), work.begin([])];
    mine.abort();
    expect([first.ending.aborted, second.ending.aborted]).toEqual([true, false]);
    second.abort();
    expect(second.ending.aborted).toBe(true);
  });

  it('ends with the client, which takes nothing more', async () => {
    const work = new Work();
    const { ending, done } = work.begin([]);
    let isClosed = false;
    const closing = work.close().then(() => (isClosed = true));
    expect(ending.reason).toMatchObject({ code: 'aborted' });
    await vi.advanceTimersByTimeAsync(10);
    expect(isClosed).toBe(false);
    done();
    await closing;
    expect(() => work.begin([])).toThrow('closed');
    await expect(work.during(undefined, () => Promise.resolve(1))).rejects.toMatchObject({ code: 'aborted' });
  });

  it('is not waited for for ever', async () => {
    const work = new Work();
    work.begin([]);
    const closing = work.close();
    await vi.advanceTimersByTimeAsync(1_000);
    await closing;
    await work.close();
  });

  it('is over when what was to be done is done, or fails', async () => {
    const work = new Work();
    expect(await work.during(undefined, () => Promise.resolve(5))).toBe(5);
    await expect(work.during(undefined, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    // Closing waits for nobody: no timer has to run.
    await work.close();
  });
});

describe('what a caller is told', () => {
  it('is what went wrong, or why its work was ended', async () => {
    const work = new Work();
    const failing = (signal?: AbortSignal) =>
      work.during(signal, (ending) => {
        ending.throwIfAborted();
        return Promise.reject(new SkeinError('no-route', 'nobody is there'));
      });
    await expect(failing()).rejects.toMatchObject({ code: 'no-route' });
    await expect(failing(AbortSignal.abort())).rejects.toMatchObject({ code: 'aborted' });
    const late = AbortSignal.abort(new DOMException('too late', 'TimeoutError'));
    await expect(failing(late)).rejects.toMatchObject({ code: 'timeout' });
    await expect(work.during(undefined, () => Promise.reject(new Error('oops')))).rejects.toBeInstanceOf(
      SkeinError,
    );
  });
});
