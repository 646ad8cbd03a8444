import { expect, test } from 'vitest';
import { Endpoint, Network } from '../../sim/network.ts';
import type { NetworkShape } from '../../sim/network.ts';
import { Random } from '../../sim/random.ts';

const SHAPE: NetworkShape = {
  regionRttSeconds: [
    [0.01, 0.1],
    [0.1, 0.02],
  ],
  jitterSeconds: 0,
  relayedShare: 0,
  relayRttSeconds: 0.06,
  relayBytesPerSecond: 1e6,
  serverRegion: 0,
};

function endpoint(address: number, region: number): Endpoint {
  const site = { region, accessSeconds: 0.005, uplinkBytesPerSecond: 5e6, downlinkBytesPerSecond: 20e6 };
  return new Endpoint(address, site);
}

test('a message takes its sending, half a round trip, and both ends’ last miles', () => {
  const network = new Network(SHAPE, new Random('network'));
  const [here, there] = [endpoint(0, 0), endpoint(1, 1)];
  expect(network.rttSeconds(here, there)).toBeCloseTo(0.12, 12);
  expect(network.arrival(here, there, 1e6, 10)).toBeCloseTo(10 + 0.2 + 0.06, 12);
  // The uplink is busy until 10.2; another receiver waits for it all the same.
  expect(network.arrival(here, endpoint(2, 0), 1e6, 10.1)).toBeCloseTo(10.4 + 0.015, 12);
  expect(network.serverRttSeconds(there)).toBeCloseTo(0.11, 12);
});

test('messages do not overtake each other, whatever the jitter', () => {
  const network = new Network({ ...SHAPE, jitterSeconds: 0.05 }, new Random('jitter'));
  const [here, there] = [endpoint(0, 0), endpoint(1, 1)];
  let before = 0;
  for (let message = 0; message < 500; message++) {
    const arrival = network.arrival(here, there, 10, message / 1000);
    expect(arrival).toBeGreaterThanOrEqual(before);
    before = arrival;
  }
});

test('as many pairs are relayed as the shape says, both ways the same', () => {
  const network = new Network({ ...SHAPE, relayedShare: 0.15 }, new Random('relays'));
  const peers = Array.from({ length: 200 }, (_, address) => endpoint(address, 0));
  let relayed = 0;
  let pairs = 0;
  for (const [index, a] of peers.entries()) {
    for (const b of peers.slice(index + 1)) {
      const isRelayed = network.rttSeconds(a, b) > 0.05;
      expect(network.rttSeconds(b, a)).toBe(network.rttSeconds(a, b));
      expect(network.bytesPerSecond(a, b)).toBe(isRelayed ? 1e6 : 5e6);
      pairs += 1;
      if (isRelayed) relayed += 1;
    }
  }
  expect(relayed / pairs).toBeCloseTo(0.15, 2);
});
