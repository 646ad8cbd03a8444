import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Conduct } from '../../../src/mesh/conduct.ts';
import { SkeinError } from '../../../src/protocol/errors.ts';
import { BAN_MS, MAX_STRIKES, MAX_WATCHED_PEERS, STRIKE_REFILL_MS } from '../../../src/protocol/limits.ts';
import { peerId } from './local-mesh.ts';
import { ManualClock } from './manual-clock.ts';

const WRONG = new SkeinError('bad-frame', 'A frame is wrong.');
const [LIAR, OTHER] = [peerId(1), peerId(2)];

function rig() {
  const clock = new ManualClock();
  return { clock, conduct: new Conduct(clock) };
}

describe('conduct', () => {
  it('forgives strikes that come slowly, for ever', () => {
    const { clock, conduct } = rig();
    for (let count = 0; count < 10 * MAX_STRIKES; count += 1) {
      expect(conduct.strike(LIAR, WRONG)).toBeNull();
      clock.advance(STRIKE_REFILL_MS);
    }
  });

  it('bans for a burst, names the peer and why, and says it once', () => {
    const { conduct } = rig();
    for (let count = 0; count < MAX_STRIKES; count += 1) expect(conduct.strike(LIAR, WRONG)).toBeNull();
    const ban = conduct.strike(LIAR, WRONG);
    expect(ban).toMatchObject({ code: 'bad-frame', data: { peer: LIAR } });
    expect(ban?.message).toContain(WRONG.message);
    expect(conduct.strike(LIAR, WRONG)).toBeNull();
    expect(conduct.banOf(LIAR)).toBe(ban);
    expect(conduct.banOf(OTHER)).toBeNull();
  });

  it('lets a ban end', () => {
    const { clock, conduct } = rig();
    expect(conduct.strike(LIAR, WRONG, MAX_STRIKES)).not.toBeNull();
    clock.advance(BAN_MS - 1);
    expect(conduct.banOf(LIAR)).not.toBeNull();
    clock.advance(1);
    expect(conduct.banOf(LIAR)).toBeNull();
    expect(conduct.strike(LIAR, WRONG)).toBeNull();
  });

  it('never bans the one for what another did', () => {
    fc.assert(
      fc.property(fc.array(fc.record({ liar: fc.boolean(), waitMs: fc.nat(2000) })), (strikes) => {
        const { clock, conduct } = rig();
        let strikesOfOther = 0;
        for (const { liar, waitMs } of strikes) {
          clock.advance(waitMs);
          conduct.strike(liar ? LIAR : OTHER, WRONG);
          if (!liar) strikesOfOther += 1;
          if (strikesOfOther <= MAX_STRIKES) expect(conduct.banOf(OTHER)).toBeNull();
        }
      }),
    );
  });

  it('remembers a bounded number of peers, and forgets the harmless first', () => {
    const { clock, conduct } = rig();
    conduct.strike(LIAR, WRONG, MAX_STRIKES);
    for (let index = 0; index < MAX_WATCHED_PEERS + 10; index += 1) {
      conduct.strike(peerId(0x1000 + index), WRONG);
      clock.advance(STRIKE_REFILL_MS / 1000);
    }
    expect(conduct.watched).toBe(MAX_WATCHED_PEERS);
    expect(conduct.banOf(LIAR)).not.toBeNull();
  });
});
