import { describe, expect, it } from 'vitest';
import { Deadline } from '../../../src/client/deadline.ts';

/** A world whose time is turned by hand. */
function world() {
  let now = 1000;
  let wake: () => void = () => undefined;
  const asked: { readonly ms: number; readonly signal: AbortSignal }[] = [];
  const deps = {
    now: () => now,
    sleep: (ms: number, signal: AbortSignal) => {
      asked.push({ ms, signal });
      return new Promise<void>((resolve, reject) => {
        wake = resolve;
        signal.addEventListener('abort', () => reject(new Error('woken early')));
      });
    },
  };
  const advance = (ms: number) => (now += ms);
  return { deps, asked, advance, wake: () => wake() };
}

describe('a deadline', () => {
  it('fires its signal when the time is up, with the reason', async () => {
    const { deps, asked, advance, wake } = world();
    const deadline = new Deadline(500, new AbortController().signal, deps);
    expect(asked.map(({ ms }) => ms)).toEqual([500]);
    expect([deadline.signal.aborted, deadline.hasPassed]).toEqual([false, false]);
    advance(500);
    wake();
    await Promise.resolve();
    expect([deadline.signal.aborted, deadline.hasPassed]).toEqual([true, true]);
    expect(deadline.signal.reason).toMatchObject({ code: 'timeout', data: { timeLimitMs: 500 } });
  });

  it('has passed when the time is up, though no timer fired yet', () => {
    const { deps, advance } = world();
    const deadline = new Deadline(500, new AbortController().signal, deps);
    advance(499);
    expect(deadline.hasPassed).toBe(false);
    advance(1);
    expect(deadline.hasPassed).toBe(true);
  });

  it('counts whole milliseconds down, and never below what a request may ask for', () => {
    const { deps, advance } = world();
    const deadline = new Deadline(500, new AbortController().signal, deps);
    expect(deadline.remainingMs).toBe(500);
    advance(100.5);
    expect(deadline.remainingMs).toBe(400);
    advance(1000);
    expect(deadline.remainingMs).toBe(1);
  });

  it('has not passed when the caller stopped, however late it is', () => {
    const { deps, asked, advance } = world();
    const caller = new AbortController();
    const deadline = new Deadline(500, caller.signal, deps);
    caller.abort();
    advance(1000);
    expect([deadline.signal.aborted, deadline.hasPassed]).toEqual([true, false]);
    expect(asked[0]?.signal.aborted).toBe(true);
  });

  it('leaves no timer behind when it is stopped, and fires no more', async () => {
    const { deps, asked, wake } = world();
    const deadline = new Deadline(500, new AbortController().signal, deps);
    deadline.stop();
    deadline.stop();
    expect(asked[0]?.signal.aborted).toBe(true);
    wake();
    await Promise.resolve();
    expect(deadline.signal.aborted).toBe(false);
  });
});
