import { expect, it } from 'vitest';
import { LINK_MEMORY_MS, LinkBook } from '../../../signaling/link-book.ts';
import { peerId } from './scheduler/instances.ts';

const [A, B] = [peerId(1), peerId(2)] as const;
/** Words older than this are forgotten. */
const FORGOTTEN_AFTER_MS = 600_000;

function say(
  book: LinkBook,
  from: typeof A,
  to: typeof A,
  rttSeconds: number,
  bytesPerSecond: number,
  nowMs: number,
) {
  book.report(from, [{ peer: to, rttSeconds, bytesPerSecond }], () => true, nowMs);
}

it.each([
  ['the smaller id', A, B],
  ['the greater id', B, A],
])('lets a stale bad word of %s fade although the other end goes on speaking', (_which, stale, fresh) => {
  const book = new LinkBook();
  say(book, stale, fresh, 2, 1e6, 0);
  say(book, fresh, stale, 0.01, 1e9, 0);
  expect(book.links(0)).toMatchObject([{ rttSeconds: 2, bytesPerSecond: 1e6, atMs: 0 }]);
  say(book, fresh, stale, 0.01, 1e9, LINK_MEMORY_MS);
  const [half] = book.links(LINK_MEMORY_MS);
  expect(half?.atMs).toBe(LINK_MEMORY_MS);
  expect(half?.rttSeconds).toBeCloseTo(1.005, 6);
  expect((half?.bytesPerSecond ?? 0) / 5e8).toBeCloseTo(1, 2);
});

it('believes a fresh bad word at once, however good the stale one was', () => {
  const book = new LinkBook();
  say(book, A, B, 0.01, 1e9, 0);
  say(book, B, A, 2, 1e6, LINK_MEMORY_MS);
  expect(book.links(LINK_MEMORY_MS)).toMatchObject([{ rttSeconds: 2, bytesPerSecond: 1e6 }]);
});

it.each([
  ['the smaller id', A, B],
  ['the greater id', B, A],
])('throws a word of %s away before it takes part in a link', (_which, stale, fresh) => {
  const book = new LinkBook();
  const nowMs = FORGOTTEN_AFTER_MS + 1;
  say(book, stale, fresh, 60, 1, 0);
  say(book, fresh, stale, 0.01, 1e9, nowMs);
  expect(book.links(nowMs)).toEqual([{ a: A, b: B, rttSeconds: 0.01, bytesPerSecond: 1e9, atMs: nowMs }]);
});
