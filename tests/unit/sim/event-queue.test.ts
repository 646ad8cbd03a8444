import fc from 'fast-check';
import { expect, test } from 'vitest';
import { EventQueue } from '../../sim/event-queue.ts';

test('what is to happen happens in order of time, and at one time in the order in which it was asked for', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 20 }), { maxLength: 200 }), (times) => {
      const queue = new EventQueue();
      const happened: { readonly at: number; readonly index: number }[] = [];
      for (const [index, at] of times.entries()) {
        queue.at(at, () => {
          expect(queue.nowSeconds).toBe(at);
          happened.push({ at, index });
        });
      }
      queue.runUntil(Infinity);
      const expected = times.map((at, index) => ({ at, index })).sort((a, b) => a.at - b.at);
      expect(happened).toEqual(expected);
    }),
  );
});

test('time stands still for what is asked for too late, and stops where it is told', () => {
  const queue = new EventQueue();
  const happened: number[] = [];
  queue.at(5, () => queue.at(1, () => happened.push(queue.nowSeconds)));
  queue.after(7, () => happened.push(queue.nowSeconds));
  queue.runUntil(6);
  expect(happened).toEqual([5]);
  queue.runUntil(10, () => happened.length === 1);
  expect(happened).toEqual([5]);
  queue.runUntil(10);
  expect(happened).toEqual([5, 7]);
});
