import { describe, expect, it } from 'vitest';
import { Admission } from '../../../../signaling/gateway/admission.ts';
import { hashApiKey } from '../../../../signaling/gateway/api-keys.ts';
import type { ApiKey } from '../../../../signaling/gateway/api-keys.ts';
import { Caller } from '../../../../signaling/gateway/caller.ts';
import { Callers } from '../../../../signaling/gateway/callers.ts';
import { ANONYMOUS_LIMITS, MAX_ANONYMOUS_CALLERS } from '../../../../signaling/gateway/limits.ts';
import type { SkeinError } from '../../../../src/protocol/errors.ts';

const BUSY = expect.objectContaining({ code: 'busy' }) as Error;

/** Seconds to wait; 0 for one who may enter, and does. */
function enter(caller: Caller, nowMs: number): number {
  try {
    caller.enter(nowMs);
    return 0;
  } catch (thrown) {
    return (thrown as SkeinError).data['retryAfterSeconds'] as number;
  }
}

describe('a caller', () => {
  it('asks so often per minute, and is told when it may again', () => {
    const caller = new Caller('ann', { requestsPerMinute: 6 }, 0);
    for (let count = 0; count < 6; count += 1) expect(enter(caller, 0)).toBe(0);
    expect(enter(caller, 0)).toBe(10);
    expect(enter(caller, 4_500)).toBe(6);
    expect(enter(caller, 10_000)).toBe(0);
    expect(enter(caller, 10_000)).toBe(10);
  });

  it('takes so many tokens per minute, and waits for a debt', () => {
    const caller = new Caller('ann', { tokensPerMinute: 60 }, 0);
    expect(enter(caller, 0)).toBe(0);
    caller.leave(90, 0);
    expect(enter(caller, 0)).toBe(31);
    expect(enter(caller, 31_000)).toBe(0);
  });

  it('has so many requests at a time, and is not charged for those it is refused', () => {
    const caller = new Caller('ann', { concurrent: 2, requestsPerMinute: 3 }, 0);
    expect([enter(caller, 0), enter(caller, 0)]).toEqual([0, 0]);
    for (let count = 0; count < 9; count += 1) expect(enter(caller, 0)).toBeGreaterThan(0);
    caller.leave(0, 0);
    expect(enter(caller, 0)).toBe(0);
  });

  it('keeps what it took when other limits of it change', () => {
    const caller = new Caller('ann', { requestsPerMinute: 1 }, 0);
    expect(enter(caller, 0)).toBe(0);
    caller.setRates({ requestsPerMinute: 1, concurrent: 5 }, 0);
    expect(enter(caller, 0)).toBe(60);
    caller.setRates({ requestsPerMinute: 2 }, 0);
    expect(enter(caller, 0)).toBe(0);
  });
});

describe('callers', () => {
  const keyOf = (name: string): ApiKey => ({ name, sha256: hashApiKey(`${name}-key`) });
  const withKey = (key: string) => new Headers({ authorization: `Bearer ${key}` });
  const of = (keys: readonly ApiKey[] | null) =>
    new Callers({ keys: keys && { keys: () => Promise.resolve(keys) }, now: () => 0 });

  it('are known by their key, however it is sent', async () => {
    const callers = of([keyOf('ann')]);
    const ann = await callers.identify(withKey('ann-key'), '10.0.0.1');
    expect(ann?.name).toBe('ann');
    expect(await callers.identify(new Headers({ 'x-api-key': 'ann-key' }), '10.0.0.2')).toBe(ann);
    const lower = new Headers({ authorization: 'bearer ann-key' });
    expect(await callers.identify(lower, '127.0.0.1')).toBe(ann);
  });

  it('are nobody without one, also on this machine, where keys are asked for', async () => {
    const callers = of([keyOf('ann')]);
    for (const headers of [new Headers(), withKey('bob-key'), new Headers({ authorization: 'ann-key' })]) {
      expect(await callers.identify(headers, '127.0.0.1')).toBeNull();
    }
  });

  it('are nobody any more when their key is removed, and held to its limits when those change', async () => {
    const keys: ApiKey[] = [keyOf('ann'), keyOf('bob')];
    const callers = of(keys);
    const bob = await callers.identify(withKey('bob-key'), '10.0.0.1');
    bob?.enter(0);
    keys[1] = { ...keyOf('bob'), concurrent: 1 };
    await callers.identify(withKey('bob-key'), '10.0.0.1');
    expect(() => bob?.enter(0)).toThrow(BUSY);
    keys.pop();
    expect(await callers.identify(withKey('bob-key'), '10.0.0.1')).toBeNull();
  });

  it('are addresses where there are no keys: held to limits, but for this machine', async () => {
    const callers = of(null);
    const [one, same] = await Promise.all(
      ['2001:db8::1', '2001:db8::2'].map((address) => callers.identify(new Headers(), address)),
    );
    expect(one).toBe(same);
    for (let count = 0; count < ANONYMOUS_LIMITS.concurrent; count += 1) one?.enter(0);
    expect(() => one?.enter(0)).toThrow(BUSY);
    const local = await callers.identify(new Headers(), '127.0.0.1');
    for (let count = 0; count < 10_000; count += 1) local?.enter(0);
  });

  it('are forgotten when they are too many, but not those who owe or ask', async () => {
    const callers = of(null);
    const busy = await callers.identify(new Headers(), '10.255.0.1');
    busy?.enter(0);
    for (let index = 0; index < 2 * MAX_ANONYMOUS_CALLERS; index += 1) {
      await callers.identify(new Headers(), `10.0.${index >> 8}.${index & 255}`);
    }
    expect(await callers.identify(new Headers(), '10.255.0.1')).toBe(busy);
  });
});

describe('admission', () => {
  it('is for so many requests, and so many bytes of theirs', () => {
    const admission = new Admission({ maxRequests: 2, maxBodiesBytes: 100 });
    const [first, second] = [admission.enter(), admission.enter()];
    expect(() => admission.enter()).toThrow(
      expect.objectContaining({ code: 'busy', data: { retryAfterSeconds: 2, queuePosition: 3 } }) as Error,
    );
    first.takeBytes(60);
    expect(() => second.takeBytes(41)).toThrow(BUSY);
    second.takeBytes(40);
    first.leave();
    first.leave();
    expect(admission.requests).toBe(1);
    second.takeBytes(60);
    expect(() => second.takeBytes(1)).toThrow(BUSY);
    second.leave();
    expect(admission.requests).toBe(0);
  });
});
