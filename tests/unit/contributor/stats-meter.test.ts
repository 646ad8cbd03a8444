import { expect, it } from 'vitest';
import { StatsMeter } from '../../../src/contributor/stats-meter.ts';

const totals = (rowsComputed: number, busyMs = 0, activeSequences = 0) => ({
  rowsComputed,
  busyMs,
  activeSequences,
  steps: 3,
  freeCacheTokens: 64,
  cacheTokens: 256,
  activationRowsSent: 12,
  activationBytesSent: 6500,
});

it('has no rate after one sample', () => {
  expect(new StatsMeter().sample(totals(100, 50, 2), 1000)).toEqual({
    activeSequences: 2,
    tokens: 100,
    tokensPerSecond: 0,
    busyShare: 0,
    atMs: 1000,
    steps: 3,
    busyMs: 50,
    freeCacheTokens: 64,
    cacheTokens: 256,
    activationRowsSent: 12,
    activationBytesSent: 6500,
  });
});

it('passes on what kernels took, where they are timed', () => {
  const kernelTimes = [{ kernel: 'rope', workgroups: '1 × 1 × 1', dispatches: 1, ms: 2, share: 1 }];
  expect(new StatsMeter().sample({ ...totals(1), kernelTimes }, 0).kernelTimes).toEqual(kernelTimes);
  expect(new StatsMeter().sample(totals(1), 0)).not.toHaveProperty('kernelTimes');
});

it('gives rates over the time between samples', () => {
  const meter = new StatsMeter();
  meter.sample(totals(100), 1000);
  expect(meter.sample(totals(120, 500), 3000)).toMatchObject({
    tokens: 120,
    tokensPerSecond: 10,
    busyShare: 0.25,
  });
});

it('forgets what is older than five seconds', () => {
  const meter = new StatsMeter();
  for (const second of [0, 1, 2, 3, 4, 5]) meter.sample(totals(second * 10), second * 1000);
  for (const second of [6, 7, 8, 9]) meter.sample(totals(50), second * 1000);
  expect(meter.sample(totals(50), 10_000).tokensPerSecond).toBe(0);
});

it('is never busier than always, though a pass is booked when it ends', () => {
  const meter = new StatsMeter();
  meter.sample(totals(0, 0), 0);
  expect(meter.sample(totals(1, 9000), 1000).busyShare).toBe(1);
});
