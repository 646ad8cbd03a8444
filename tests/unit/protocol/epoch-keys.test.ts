import { describe, expect, it } from 'vitest';
import { EpochKeys, isLaterKey, MAX_EPOCHS } from '../../../src/protocol/epoch-keys.ts';

describe('the key of an epoch', () => {
  const keys = new EpochKeys(new Uint8Array(16).fill(3));
  const at = (epoch: number) => ({ epoch, key: keys.at(epoch) });

  it('follows from that of any later one, and of no earlier one', () => {
    for (const [older, newer] of [
      [0, 1],
      [0, 5],
      [7, 8],
      [0, MAX_EPOCHS - 1],
    ] as const) {
      expect(isLaterKey(at(older), at(newer))).toBe(true);
      expect(isLaterKey(at(newer), at(older))).toBe(false);
    }
    expect(isLaterKey(at(3), at(3))).toBe(false);
  });

  it('is of its epoch, and of its request', () => {
    const others = new EpochKeys(new Uint8Array(16).fill(4));
    expect(isLaterKey(at(0), { epoch: 1, key: others.at(1) })).toBe(false);
    expect(isLaterKey(at(0), { epoch: 2, key: keys.at(1) })).toBe(false);
    expect(isLaterKey(at(0), { epoch: 1, key: keys.at(2) })).toBe(false);
    expect(isLaterKey(at(0), { epoch: 1, key: keys.at(0) })).toBe(false);
    expect(new EpochKeys().at(9)).not.toBe(new EpochKeys().at(9));
    expect(keys.at(0)).toMatch(/^[0-9a-f]{32}$/);
  });

  it('has an end, and hashes no further', () => {
    expect(() => keys.at(MAX_EPOCHS)).toThrow(expect.objectContaining({ code: 'bad-argument' }));
    expect(
      isLaterKey({ epoch: 0, key: keys.at(0) }, { epoch: MAX_EPOCHS, key: keys.at(MAX_EPOCHS - 1) }),
    ).toBe(false);
  });
});
