import { describe, expect, it } from 'vitest';
import { throwIfAborted, untilAborted } from '../../../src/model/abort.ts';
import { SkeinError } from '../../../src/protocol/errors.ts';
import { refusalOf } from '../../fixtures/errors.ts';

const never = new Promise<never>(() => undefined);

describe('untilAborted', () => {
  it('passes on what the work gives, or how it fails', async () => {
    const { signal } = new AbortController();
    expect(await untilAborted(Promise.resolve(5), signal)).toBe(5);
    expect(await untilAborted(Promise.resolve(6), undefined)).toBe(6);
    await expect(untilAborted(Promise.reject(new Error('broken')), signal)).rejects.toThrow('broken');
  });

  it('ends with the signal', async () => {
    const controller = new AbortController();
    const refusal = refusalOf(() => untilAborted(never, controller.signal));
    controller.abort();
    expect((await refusal).code).toBe('aborted');
  });

  it('does not begin to wait when the signal is over', async () => {
    expect((await refusalOf(() => untilAborted(never, AbortSignal.abort()))).code).toBe('aborted');
  });
});

describe('throwIfAborted', () => {
  it('tells a deadline from a wish', async () => {
    const timedOut = AbortSignal.abort(new DOMException('too long', 'TimeoutError'));
    expect((await refusalOf(() => throwIfAborted(timedOut))).code).toBe('timeout');
    expect((await refusalOf(() => throwIfAborted(AbortSignal.abort()))).code).toBe('aborted');
    expect((await refusalOf(() => throwIfAborted(AbortSignal.abort('a reason')))).code).toBe('aborted');
  });

  it('keeps the error that was given as the reason', async () => {
    const lost = AbortSignal.abort(new SkeinError('device-lost', 'The device is gone.'));
    expect((await refusalOf(() => throwIfAborted(lost))).code).toBe('device-lost');
  });

  it('lets a live signal be', () => {
    expect(() => throwIfAborted(new AbortController().signal)).not.toThrow();
    expect(() => throwIfAborted(undefined)).not.toThrow();
  });
});
