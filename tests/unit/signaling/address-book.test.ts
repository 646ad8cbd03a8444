import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AddressBook } from '../../../signaling/address-book.ts';
import {
  ADDRESS_CONNECTION_BURST,
  ADDRESS_MESSAGE_BURST,
  ADDRESS_PLACEMENT_BURST,
  BYTES_PER_MESSAGE_TOKEN,
  MAX_ADDRESSES,
  MESSAGE_BURST,
  PLACEMENT_BURST,
  SUSPECT_BURST,
} from '../../../signaling/limits.ts';
import { MessageLimits } from '../../../signaling/message-limits.ts';

/** How often it can be done before it is refused. */
function countUntilRefused(attempt: () => void): number {
  for (let count = 0; count < 100_000; count += 1) {
    try {
      attempt();
    } catch {
      return count;
    }
  }
  return Infinity;
}

describe('an address', () => {
  it('has so many sockets at a time, and others are not held up by it', () => {
    const book = new AddressBook(2);
    for (let count = 0; count < 2; count += 1) {
      expect(book.mayOpen('10.0.0.1', 0)).toBe(true);
      book.opened('10.0.0.1', 0);
    }
    expect(book.mayOpen('::ffff:10.0.0.1', 0)).toBe(false);
    expect(book.mayOpen('10.0.0.2', 0)).toBe(true);
    book.closed('10.0.0.1');
    expect(book.mayOpen('10.0.0.1', 0)).toBe(true);
  });

  it('opens so many in a time, however soon it closes them', () => {
    const book = new AddressBook();
    const opens = countUntilRefused(() => {
      if (!book.mayOpen('10.0.0.1', 0)) throw new Error('refused');
      book.opened('10.0.0.1', 0);
      book.closed('10.0.0.1');
    });
    expect(opens).toBe(ADDRESS_CONNECTION_BURST);
    expect(book.mayOpen('10.0.0.1', 1000)).toBe(true);
  });

  it('is forgotten when nothing came from it for a while, and not while it has a socket', () => {
    const book = new AddressBook();
    book.mayOpen('10.0.0.1', 0);
    book.mayOpen('10.0.0.2', 0);
    book.opened('10.0.0.2', 0);
    book.prune(0);
    expect(book.size).toBe(2);
    book.prune(60_000);
    expect(book.size).toBe(1);
    book.closed('10.0.0.2');
    book.prune(60_000);
    expect(book.size).toBe(0);
  });

  it('makes room for another when there are too many, but for those with sockets', () => {
    const book = new AddressBook(1);
    book.opened('10.0.0.1', 0);
    for (let index = 0; index < 2 * MAX_ADDRESSES; index += 1) {
      book.mayOpen(`172.${16 + (index >> 16)}.${(index >> 8) & 255}.${index & 255}`, 0);
    }
    expect(book.size).toBe(MAX_ADDRESSES);
    expect(book.mayOpen('10.0.0.1', 0)).toBe(false);
  });
});

describe('what one socket may say', () => {
  const limitsOf = (book = new AddressBook()) => new MessageLimits(book.opened('10.0.0.1', 0), 0);

  it('is so many messages, and fewer of long ones', () => {
    const limits = limitsOf();
    expect(countUntilRefused(() => limits.takeMessage(100, 0))).toBe(MESSAGE_BURST);
    const long = limitsOf();
    expect(countUntilRefused(() => long.takeMessage(3 * BYTES_PER_MESSAGE_TOKEN, 0))).toBe(MESSAGE_BURST / 4);
  });

  it('is much less of what makes work for everybody', () => {
    for (const type of ['join', 'leave', 'load-failed', 'reloading'] as const) {
      const limits = limitsOf();
      expect(countUntilRefused(() => limits.takeType(type, 0))).toBe(PLACEMENT_BURST);
      expect(() => limits.takeType('serving', 0)).not.toThrow();
      expect(() => limits.takeType(type, 10_000)).not.toThrow();
    }
    const limits = limitsOf();
    expect(countUntilRefused(() => limits.takeType('suspect', 0))).toBe(SUSPECT_BURST);
  });

  it('is bounded for all sockets of an address together', () => {
    const book = new AddressBook();
    const many = Array.from({ length: 100 }, () => limitsOf(book));
    const sum = (attempt: (limits: MessageLimits) => void) =>
      many.reduce((total, limits) => total + countUntilRefused(() => attempt(limits)), 0);
    expect(sum((limits) => limits.takeMessage(100, 0))).toBe(ADDRESS_MESSAGE_BURST);
    expect(sum((limits) => limits.takeType('join', 0))).toBe(ADDRESS_PLACEMENT_BURST);
  });

  it('is refused in words, with a code for those who can wait', () => {
    const limits = limitsOf();
    countUntilRefused(() => limits.takeMessage(1, 0));
    expect(() => limits.takeMessage(1, 0)).toThrow(expect.objectContaining({ code: 'busy' }) as Error);
  });
});

it('counts sockets exactly, whatever comes and goes', () => {
  const step = fc.record({ address: fc.constantFrom('10.0.0.1', '10.0.0.2'), opens: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
      const book = new AddressBook(3);
      const open = new Map<string, number>();
      let nowMs = 0;
      for (const { address, opens } of steps) {
        nowMs += 100_000;
        const count = open.get(address) ?? 0;
        if (!opens && count > 0) {
          book.closed(address);
          open.set(address, count - 1);
        } else if (opens) {
          expect(book.mayOpen(address, nowMs)).toBe(count < 3);
          if (count < 3) {
            book.opened(address, nowMs);
            open.set(address, count + 1);
          }
        }
        book.prune(nowMs + 99_999);
      }
    }),
  );
});
