import { describe, expect, it } from 'vitest';
import { interleave, median, speedup, summarize } from '../../bench/timing.ts';

describe('interleave', () => {
  it('takes turns, each round in the other order, and leaves warm-ups out', async () => {
    const order: string[] = [];
    let nextMs = 0;
    const contender = (name: string) => ({
      name,
      run: () => {
        order.push(name);
        return Promise.resolve(nextMs++);
      },
    });
    const [a, b] = await interleave([contender('a'), contender('b')], { rounds: 3, warmUps: 1 });
    expect(order.join('')).toBe('baabbaab');
    expect(a?.samplesMs).toEqual([2, 5, 6]);
    expect(b?.samplesMs).toEqual([3, 4, 7]);
  });

  it('begins no further round when its time is over, but always one', async () => {
    const contender = { name: 'slow', run: () => Promise.resolve(1) };
    const [timing] = await interleave([contender], { rounds: 3, warmUps: 1, budgetMs: -1 });
    expect(timing?.samplesMs).toEqual([1]);
  });
});

describe('median', () => {
  it('is the middle of an odd number of values, in any order', () => {
    expect(median([9, 1, 5])).toBe(5);
  });

  it('is the mean of the two in the middle of an even number', () => {
    expect(median([10, 1, 2, 4])).toBe(3);
  });

  it('sorts as numbers', () => {
    expect(median([10, 9, 100])).toBe(10);
  });

  it('refuses no values', () => {
    expect(() => median([])).toThrow('no median');
  });
});

it('speeds up by the ratio of medians', () => {
  expect(speedup(summarize('ours', [1, 2, 100]), summarize('peer', [6, 5, 7]))).toBe(3);
});
