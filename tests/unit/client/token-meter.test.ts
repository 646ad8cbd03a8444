import { expect, it } from 'vitest';
import { TokenMeter } from '../../../src/client/token-meter.ts';

it('counts tokens after the first and their time, and nothing before there is one', () => {
  const meter = new TokenMeter();
  expect(meter.outcome).toBeNull();
  meter.count(5_000);
  expect(meter.outcome).toBeNull();
  meter.count(5_000);
  expect(meter.outcome).toBeNull();
  meter.count(5_250);
  meter.count(5_500);
  expect(meter.outcome).toEqual({ tokens: 3, seconds: 0.5 });
});
