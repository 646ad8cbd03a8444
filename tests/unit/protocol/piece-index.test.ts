import fc from 'fast-check';
import { expect, it } from 'vitest';
import { pieceIndexAt } from '../../../src/protocol/piece-index.ts';

it('finds the last piece that begins at or before a position', () => {
  const position = fc.integer({ min: 0, max: 50 });
  const positions = fc.uniqueArray(position, { maxLength: 20 }).map((all) => all.sort((a, b) => a - b));
  fc.assert(
    fc.property(positions, position, (starts, wanted) => {
      const pieces = starts.map((start) => ({ position: start }));
      const last = starts.findLastIndex((start) => start <= wanted);
      expect(pieceIndexAt(pieces, wanted)).toBe(Math.max(0, last));
    }),
  );
});
