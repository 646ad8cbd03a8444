import { describe, expect, it } from 'vitest';
import { lossWords, rerouteWords } from '../../../src/client/reroute-words.ts';
import type { Reroute } from '../../../src/client/request-state.ts';
import type { PeerId } from '../../../src/protocol/ids.ts';

const LOSS: Reroute = {
  epoch: 0,
  peer: `3f2a01${'0'.repeat(26)}` as PeerId,
  code: 'peer-lost',
  phase: 'decoding',
  pauseMs: 421,
};

describe('the words of a re-route', () => {
  it('name who left, why, and the pause', () => {
    expect(lossWords(LOSS)).toBe('Tab 3f2a01 left');
    expect(rerouteWords(LOSS)).toBe('Tab 3f2a01 left: went on without it after 0.42 s');
    expect(rerouteWords({ ...LOSS, code: 'device-lost', pauseMs: 12_000 })).toBe(
      'Tab 3f2a01 lost its GPU: went on without it after 12.00 s',
    );
  });

  it('claim nothing that is not known', () => {
    expect(rerouteWords({ ...LOSS, peer: null, code: 'timeout' })).toBe(
      'A tab of the route gave no sign of life: went on after 0.42 s',
    );
    expect(rerouteWords({ ...LOSS, code: 'busy' })).toBe('Tab 3f2a01 has no room: went on after 0.42 s');
    expect(lossWords({ ...LOSS, code: 'internal' })).toBe('Tab 3f2a01 failed');
  });
});
