import { describe, expect, it } from 'vitest';
import { pacedImmediate } from '../../../src/engine/dawn-polling.ts';

/** As Dawn makes them: native, and without a name. */
function nativePoll(poll: () => void): () => void {
  return Object.defineProperty(poll.bind(null), 'name', { value: '' });
}

/** An event loop by hand: every turn takes a tenth of a millisecond, and every sleep as long as it says. */
function handLoop() {
  let nowMs = 1_000;
  const queue: (() => void)[] = [];
  const sleeps: number[] = [];
  const immediate = pacedImmediate({
    setImmediate: (callback, ...args) => queue.push(() => callback(...args)),
    now: () => nowMs,
    sleep: (ms) => {
      sleeps.push(ms);
      nowMs += ms;
    },
  });
  return {
    immediate,
    sleeps,
    turn: () => {
      nowMs += 0.1;
      for (const callback of queue.splice(0)) callback();
    },
    later: (ms: number) => void (nowMs += ms),
  };
}

describe('pacedImmediate', () => {
  it('sleeps longer the longer Dawn has polled, and never for long', () => {
    const { immediate, sleeps, turn } = handLoop();
    const poll = () => void immediate(nativePoll(poll));
    poll();
    for (let turns = 0; turns < 200; turns++) turn();
    expect(sleeps).toHaveLength(200);
    expect(sleeps).toEqual(sleeps.toSorted((a, b) => a - b));
    expect(sleeps[0]).toBeCloseTo(0.1 / 32);
    expect(sleeps.at(-1)).toBe(0.25);
  });

  it('begins anew with every wait', () => {
    const { immediate, sleeps, turn, later } = handLoop();
    immediate(nativePoll(() => undefined));
    turn();
    later(100);
    immediate(nativePoll(() => undefined));
    turn();
    expect(sleeps[1]).toBeCloseTo(sleeps[0] ?? NaN);
  });

  it('begins anew after a poll that threw', () => {
    const { immediate, sleeps, turn, later } = handLoop();
    immediate(
      nativePoll(() => {
        throw new Error('lost');
      }),
    );
    expect(turn).toThrow('lost');
    later(100);
    immediate(nativePoll(() => undefined));
    turn();
    expect(sleeps[1]).toBeCloseTo(sleeps[0] ?? NaN);
  });

  it.each<[string, (...args: unknown[]) => void]>([
    [
      'an arrow function',
      (
        () =>
        (...args: unknown[]) =>
          void heard.push(...args)
      )(),
    ],
    [
      'a function with a name',
      function named(...args: unknown[]) {
        heard.push(...args);
      },
    ],
    ['a bound function', ((...args: unknown[]) => void heard.push(...args)).bind(null)],
  ])('leaves alone what %s asks for', (_, callback) => {
    heard.length = 0;
    const { immediate, sleeps, turn } = handLoop();
    immediate(callback, 1, 'two');
    turn();
    expect(heard).toEqual([1, 'two']);
    expect(sleeps).toEqual([]);
  });
});

const heard: unknown[] = [];
