import { describe, expect, it } from 'vitest';
import { explainDialError, LOCAL_NETWORK_ACCESS } from '../../../src/mesh/local-network-access.ts';
import type { PermissionStates } from '../../../src/mesh/local-network-access.ts';
import { SkeinError } from '../../../src/protocol/errors.ts';
import { errorWords, wordsOf } from '../../../src/ui/text/error-words.ts';
import { ManualClock } from './manual-clock.ts';
import { peerId } from '../contributor/fakes.ts';

const DIAL_FAILED = new SkeinError('timeout', 'A peer could not be reached in 15 s.', {
  data: { peer: peerId('b') },
});

/** A browser that knows these permissions, and throws for others as Chrome does. */
function browser(states: Readonly<Record<string, string>>): PermissionStates {
  return {
    query: ({ name }) => {
      const state = states[name];
      if (state === undefined)
        throw new TypeError(`'${name}' is not a valid enum value of type PermissionName.`);
      return Promise.resolve({ state });
    },
  };
}

const explain = (error: SkeinError, permissions: PermissionStates | undefined) =>
  explainDialError(error, permissions, new ManualClock());

describe('a dial that failed, where the browser guards the local network', () => {
  it.each(['local-network', 'loopback-network', 'local-network-access'])(
    'is explained when %s is denied',
    async (name) => {
      const error = await explain(DIAL_FAILED, browser({ [name]: 'denied' }));
      expect(error).toMatchObject({
        code: 'timeout',
        data: { ...DIAL_FAILED.data, blockedBy: LOCAL_NETWORK_ACCESS },
      });
      expect(error.message).toMatch(/15 s.*local network.*site settings/s);
      expect(wordsOf(error)).not.toEqual(errorWords('timeout'));
      expect(wordsOf(error).advice).toMatch(/allow/i);
    },
  );

  it.each<[string, PermissionStates | undefined]>([
    ['it is allowed', browser({ 'local-network': 'granted', 'loopback-network': 'prompt' })],
    ['it was not asked yet', browser({ 'local-network-access': 'prompt' })],
    ['the browser knows no such permission', browser({})],
    ['there are no permissions', undefined],
    ['the question fails', { query: () => Promise.reject(new Error('no')) }],
  ])('stays as it is where %s', async (_what, permissions) => {
    expect(await explain(DIAL_FAILED, permissions)).toBe(DIAL_FAILED);
    expect(wordsOf(DIAL_FAILED)).toEqual(errorWords('timeout'));
  });

  it('does not wait for a browser that does not answer', async () => {
    const clock = new ManualClock();
    const explained = explainDialError(DIAL_FAILED, { query: () => new Promise(() => undefined) }, clock);
    await Promise.resolve();
    clock.advance(1000);
    expect(await explained).toBe(DIAL_FAILED);
  });

  it('is nothing that other errors are about', async () => {
    const busy = new SkeinError('busy', 'full');
    expect(await explain(busy, browser({ 'local-network': 'denied' }))).toBe(busy);
  });
});
