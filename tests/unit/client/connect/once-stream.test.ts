import { getEventListeners } from 'node:events';
import { beforeEach, describe, expect, it } from 'vitest';
import { OnceStream } from '../../../../src/client/connect/once-stream.ts';
import { SkeinError } from '../../../../src/protocol/errors.ts';
import { settled } from '../../mesh/local-mesh.ts';

/** Work whose pieces a test hands out, one after the other. */
class FakeWork {
  readonly abort = new AbortController();
  begun = 0;
  /** How often it was said to have ended. */
  done = 0;
  hasEnded = false;
  #give: (piece: number | Error | null) => void = () => undefined;

  readonly stream = new OnceStream<number>(() => {
    this.begun += 1;
    return {
      ending: this.abort.signal,
      abort: () => this.abort.abort(),
      done: () => void (this.done += 1),
      chunks: this.#chunks(),
    };
  });

  /** null is the end. */
  give(piece: number | Error | null): void {
    this.#give(piece);
  }

  async *#chunks(): AsyncGenerator<number, void, void> {
    const { signal } = this.abort;
    try {
      for (;;) {
        const piece = await new Promise<number | Error | null>((resolve) => {
          this.#give = resolve;
          signal.addEventListener('abort', () => resolve(new SkeinError('aborted', 'stopped')), {
            once: true,
          });
        });
        if (piece === null) return;
        if (piece instanceof Error) throw piece;
        yield piece;
      }
    } finally {
      this.hasEnded = true;
    }
  }
}

let work: FakeWork;
beforeEach(() => {
  work = new FakeWork();
});

async function take(iterator: AsyncIterator<number>, piece: number): Promise<IteratorResult<number>> {
  const next = iterator.next();
  await settled();
  work.give(piece);
  return next;
}

describe('a stream that is read once', () => {
  it('begins when somebody reads, and ends after its last piece', async () => {
    expect(work.begun).toBe(0);
    const iterator = work.stream[Symbol.asyncIterator]();
    expect(await take(iterator, 1)).toEqual({ done: false, value: 1 });
    expect(await take(iterator, 2)).toEqual({ done: false, value: 2 });
    const last = iterator.next();
    await settled();
    work.give(null);
    expect(await last).toEqual({ done: true, value: undefined });
    expect(await iterator.next()).toEqual({ done: true, value: undefined });
    expect(work).toMatchObject({ begun: 1, done: 1 });
    expect(getEventListeners(work.abort.signal, 'abort').length).toBeLessThanOrEqual(3);
  });

  it('refuses a second reader', async () => {
    work.stream[Symbol.asyncIterator]();
    await expect(async () => {
      for await (const piece of work.stream) expect(piece).toBeUndefined();
    }).rejects.toMatchObject({ code: 'bad-argument' });
    expect(work.begun).toBe(1);
  });

  it('ends its work when its reader breaks off', async () => {
    const seen: number[] = [];
    const reading = (async () => {
      for await (const piece of work.stream) {
        seen.push(piece);
        break;
      }
    })();
    await settled();
    work.give(7);
    await reading;
    expect(seen).toEqual([7]);
    expect(work).toMatchObject({ done: 1, hasEnded: true });
    expect(work.abort.signal.aborted).toBe(true);
  });

  it('returns at once while a piece is awaited', async () => {
    const iterator = work.stream[Symbol.asyncIterator]();
    const waiting = iterator.next();
    await settled();
    expect(await iterator.return?.()).toEqual({ done: true, value: undefined });
    await expect(waiting).rejects.toMatchObject({ code: 'aborted' });
    expect(work.hasEnded).toBe(true);
    expect(await iterator.next()).toEqual({ done: true, value: undefined });
  });

  it('returns before it has begun', async () => {
    const iterator = work.stream[Symbol.asyncIterator]();
    await iterator.return?.();
    expect(work.done).toBe(1);
    expect(await iterator.next()).toEqual({ done: true, value: undefined });
  });

  it('ends its work on abort, also while nobody asks for more', async () => {
    const iterator = work.stream[Symbol.asyncIterator]();
    await take(iterator, 1);
    work.abort.abort();
    await settled();
    expect(work.hasEnded).toBe(true);
    expect(work.done).toBeGreaterThan(0);
    await expect(iterator.next()).rejects.toMatchObject({ code: 'aborted' });
    expect(await iterator.next()).toEqual({ done: true, value: undefined });
  });

  it('passes on what goes wrong, once', async () => {
    const iterator = work.stream[Symbol.asyncIterator]();
    const waiting = iterator.next();
    await settled();
    work.give(new SkeinError('no-route', 'nobody is there'));
    await expect(waiting).rejects.toMatchObject({ code: 'no-route' });
    expect(await iterator.next()).toEqual({ done: true, value: undefined });
    expect(work.done).toBe(1);
  });
});
