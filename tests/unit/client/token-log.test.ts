import { expect, it } from 'vitest';
import { TokenLog } from '../../../src/client/token-log.ts';

it('never changes a log that somebody holds', () => {
  const one = TokenLog.empty().with(1);
  const two = one.with(2);
  const other = one.with(3);
  const more = two.with(4);
  expect([one, two, other, more].map(({ tokenIds }) => tokenIds)).toEqual([[1], [1, 2], [1, 3], [1, 2, 4]]);
  expect([one.length, two.length, other.length, more.length]).toEqual([1, 2, 2, 3]);
  expect(TokenLog.empty().tokenIds).toEqual([]);
});

it('gives out copies', () => {
  const log = TokenLog.empty().with(1);
  log.tokenIds.push(9);
  expect(log.with(2).tokenIds).toEqual([1, 2]);
});
