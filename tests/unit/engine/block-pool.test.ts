import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BlockPool } from '../../../src/engine/block-pool.ts';

describe('BlockPool', () => {
  it('refuses more than it has, and takes nothing then', () => {
    const pool = new BlockPool(4);
    pool.allocate(3);
    expect(() => pool.allocate(2)).toThrow(expect.objectContaining({ code: 'busy' }));
    expect(pool.freeCount).toBe(1);
  });

  it('refuses to release a free block', () => {
    const pool = new BlockPool(4);
    const blocks = pool.allocate(2);
    pool.release(blocks);
    expect(() => pool.release(blocks)).toThrow(expect.objectContaining({ code: 'internal' }));
  });

  it('never gives a block to two owners and gets every block back', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -3, max: 7 }), { maxLength: 200 }), (steps) => {
        const pool = new BlockPool(32);
        const held: number[][] = [];
        for (const step of steps) {
          if (step >= 0 && step <= pool.freeCount) held.push(pool.allocate(step));
          else if (held.length > 0) pool.release(held.shift() ?? []);
          const inUse = held.flat();
          expect(new Set(inUse).size).toBe(inUse.length);
          expect(inUse.length + pool.freeCount).toBe(32);
        }
        for (const blocks of held) pool.release(blocks);
        expect(new Set(pool.allocate(32)).size).toBe(32);
      }),
    );
  });
});
