import { describe, expect, it } from 'vitest';
import { whileWaiting } from '../../../src/client/while-waiting.ts';

const NEVER = new AbortController().signal;

/** A wait that the test settles. */
function pending() {
  const handles: {
    report: (text: string) => void;
    resolve: (value: number) => void;
    reject: (error: Error) => void;
    signal: AbortSignal;
  }[] = [];
  const waiting = whileWaiting<string, number>(
    (report, signal) => new Promise((resolve, reject) => handles.push({ report, resolve, reject, signal })),
    NEVER,
  );
  const handle = () => {
    const [first] = handles;
    if (first === undefined) throw new Error('not started');
    return first;
  };
  return { waiting, handle };
}

describe('whileWaiting', () => {
  it('gives reports as they come, those of one moment in order, and then the value', async () => {
    const { waiting, handle } = pending();
    const first = waiting.next();
    handle().report('a');
    handle().report('b');
    expect(await first).toEqual({ done: false, value: 'a' });
    expect(await waiting.next()).toEqual({ done: false, value: 'b' });
    const third = waiting.next();
    handle().report('c');
    handle().resolve(7);
    expect(await third).toEqual({ done: false, value: 'c' });
    expect(await waiting.next()).toEqual({ done: true, value: 7 });
  });

  it('gives what was reported before the value, even when nobody listened in between', async () => {
    const { waiting, handle } = pending();
    const first = waiting.next();
    handle().report('a');
    handle().report('b');
    handle().resolve(1);
    expect((await first).value).toBe('a');
    expect((await waiting.next()).value).toBe('b');
    expect(await waiting.next()).toEqual({ done: true, value: 1 });
  });

  it('throws what the wait ends with', async () => {
    const { waiting, handle } = pending();
    const first = waiting.next();
    handle().reject(new Error('denied'));
    await expect(first).rejects.toThrow('denied');
  });

  it('gives up the wait when its listener leaves, and swallows how that ends', async () => {
    const { waiting, handle } = pending();
    const first = waiting.next();
    handle().report('a');
    await first;
    expect(handle().signal.aborted).toBe(false);
    await waiting.return(0);
    expect(handle().signal.aborted).toBe(true);
    handle().reject(new Error('given up'));
    await Promise.resolve();
  });
});
