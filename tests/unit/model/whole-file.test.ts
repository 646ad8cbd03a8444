import { describe, expect, it, vi } from 'vitest';
import { WholeFile, WholeFileCache } from '../../../src/model/whole-file.ts';
import { refusalOf } from '../../fixtures/errors.ts';

const file = (name: string, ...chunks: number[][]) =>
  new WholeFile(
    name,
    chunks.map((chunk) => Uint8Array.from(chunk)),
  );

function deferred<T>(): { promise: Promise<T>; resolve: (value: T) => void; reject: (error: Error) => void } {
  let resolve: (value: T) => void = () => undefined;
  let reject: (error: Error) => void = () => undefined;
  const promise = new Promise<T>((onResolve, onReject) => ([resolve, reject] = [onResolve, onReject]));
  return { promise, resolve, reject };
}

describe('WholeFile', () => {
  it('cuts any part out of its chunks', () => {
    const whole = file('a', [0, 1, 2], [], [3], [4, 5, 6]);
    expect(whole.sizeBytes).toBe(7);
    for (let start = 0; start <= 7; start++) {
      for (let end = start; end <= 7; end++) {
        expect([...whole.slice(start, end)]).toEqual([0, 1, 2, 3, 4, 5, 6].slice(start, end));
      }
    }
  });
});

describe('WholeFileCache', () => {
  it('downloads once for everyone who asks meanwhile and after', async () => {
    const cache = new WholeFileCache();
    const download = deferred<WholeFile>();
    const start = vi.fn(() => download.promise);
    const both = Promise.all([cache.get('a', start), cache.get('a', start)]);
    download.resolve(file('a', [7]));
    const [first, second] = await both;
    expect(first).toBe(second);
    expect(await cache.get('a', start)).toBe(first);
    expect(start).toHaveBeenCalledTimes(1);
    expect(cache.holds('a')).toBe(true);
  });

  it('drops the file it holds before the next one comes', async () => {
    const cache = new WholeFileCache();
    await cache.get('a', () => Promise.resolve(file('a', [1])));
    const held: boolean[] = [];
    await cache.get('b', () => {
      held.push(cache.holds('a'));
      return Promise.resolve(file('b', [2]));
    });
    expect(held).toEqual([false]);
  });

  it('lets nobody overtake a download when one who waited gives up', async () => {
    const cache = new WholeFileCache();
    const slow = deferred<WholeFile>();
    const first = cache.get('a', () => slow.promise);
    const impatient = new AbortController();
    const refusal = refusalOf(() => cache.get('b', () => Promise.resolve(file('b')), impatient.signal));
    const third = vi.fn(() => Promise.resolve(file('c', [3])));
    const last = cache.get('c', third);
    impatient.abort();
    expect((await refusal).code).toBe('aborted');
    expect(third).not.toHaveBeenCalled();
    slow.resolve(file('a', [1]));
    await first;
    expect((await last).file).toBe('c');
  });

  it('goes on after a download that failed', async () => {
    const cache = new WholeFileCache();
    await expect(cache.get('a', () => Promise.reject(new Error('broken')))).rejects.toThrow('broken');
    expect(cache.holds('a')).toBe(false);
    expect((await cache.get('a', () => Promise.resolve(file('a', [1])))).sizeBytes).toBe(1);
  });
});
