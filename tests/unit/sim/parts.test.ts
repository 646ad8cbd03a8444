import { expect, test } from 'vitest';
import type { PeerId } from '../../../src/protocol/ids.ts';
import { CacheReservations } from '../../sim/cache-reservations.ts';
import { drawDevice } from '../../sim/device.ts';
import { Random } from '../../sim/random.ts';
import type { Run } from '../../sim/run.ts';
import type { SimulatedPeer } from '../../sim/simulated-peer.ts';
import { DEVICE } from './fixed-policy.ts';

test('streams of other names are other streams, however much was drawn before', () => {
  const random = new Random('seed');
  const early = random.fork('visits').next();
  random.next();
  expect(random.fork('visits').next()).toBe(early);
  expect(random.fork('arrivals').next()).not.toBe(early);
  expect(new Random('other seed').fork('visits').next()).not.toBe(early);
});

test('liars claim what they are not, as often as is said; the others miss by a little', () => {
  const random = new Random('devices');
  const honesty = { measurementError: 0.2, liarShare: 0.1, lieFactor: 10 };
  const devices = Array.from({ length: 4000 }, () => drawDevice({ ...DEVICE, spread: 0.3 }, honesty, random));
  const claims = devices.map(({ claim, bytesPerSecond }) => claim.matvecBytesPerSecond / bytesPerSecond);
  const lies = claims.filter((claim) => claim > 2);
  expect(lies.length / 4000).toBeCloseTo(0.1, 1);
  expect(Math.min(...lies)).toBeGreaterThanOrEqual(8);
  expect(Math.max(...lies)).toBeLessThanOrEqual(12);
  const honest = claims.filter((claim) => claim <= 2);
  expect(Math.min(...honest)).toBeGreaterThanOrEqual(0.8);
  expect(Math.max(...honest)).toBeLessThanOrEqual(1.2);
  const speeds = devices.map(({ bytesPerSecond }) => bytesPerSecond / DEVICE.bytesPerSecond);
  expect(Math.min(...speeds)).toBeLessThan(0.75);
  expect(Math.max(...speeds)).toBeLessThanOrEqual(1.3);
});

test('who finds no room on a hop takes none on the others, and is told which hop it is', () => {
  const [small, large] = [64, 1000].map(
    (capacityTokenLayers) =>
      ({
        capacityTokenLayers,
        reservedTokenLayers: 0,
        loads: 1,
        checkRoom: () => undefined,
      }) as unknown as SimulatedPeer,
  );
  if (small === undefined || large === undefined) throw new Error('Two peers were made.');
  const hop = { peer: 'b'.repeat(32) as PeerId, layerStart: 0, layerEnd: 1 };
  const runOf = (promptRows: number) => ({ promptRows, hops: [hop, hop] }) as unknown as Run;
  const [first, second, third] = [runOf(32), runOf(32), runOf(16)];
  const reservations = new CacheReservations();
  expect(reservations.take(first, 16, [large, small])).toBe(null);
  expect(reservations.take(second, 0, [large, small])).toBe(small);
  expect([large.reservedTokenLayers, small.reservedTokenLayers]).toEqual([48, 48]);
  expect(reservations.take(third, 0, [large, small])).toBe(null);
  for (const run of [first, second, third]) reservations.remove(run);
  expect([large.reservedTokenLayers, small.reservedTokenLayers]).toEqual([0, 0]);
});
