import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Measurements } from '../../../signaling/measurements.ts';
import { stepSeconds } from '../../../signaling/scheduler/cost.ts';
import { FIRST_MEASURED } from '../../../signaling/scheduler/clusters.ts';
import { findRoute } from '../../../signaling/scheduler/routing.ts';
import type { PeerId } from '../../../src/protocol/ids.ts';
import { MAX_PROBED_PEERS } from '../../../src/protocol/limits.ts';
import type { Capability, LinkReport, StageReport } from '../../../src/protocol/signaling.ts';
import { card, peerId } from './scheduler/instances.ts';

const model = card({
  layerCount: 8,
  bytesPerLayer: 1e8,
  multiplyAddsPerLayer: 5e7,
  cacheBytesPerTokenPerLayer: 1000,
});
const WHOLE = { model: model.id, layerStart: 0, layerEnd: model.layerCount };
const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;

function claim(speed = 1): Capability {
  return {
    memoryBytes: 8e9,
    matvecBytesPerSecond: 5e10 * speed,
    matmulFlopsPerSecond: 2e12 * speed,
    adapter: 'test',
  };
}

/** What a peer reports whose steps take `slowness` times what this capability lets expect. */
function steps(capability: Capability, slowness: number): StageReport {
  const seconds = 5;
  const each = slowness * stepSeconds(model, capability, WHOLE, 1);
  const count = Math.max(4, Math.floor(seconds / each / 10));
  return {
    ...WHOLE,
    steps: count,
    rows: count,
    busySeconds: count * each,
    seconds,
    activeSequences: 1,
    freeCacheTokens: 1000,
    cacheTokens: 2048,
  };
}

function hops(...indices: readonly number[]) {
  const share = model.layerCount / indices.length;
  return indices.map((index, place) => ({
    peer: peerId(index),
    layerStart: place * share,
    layerEnd: (place + 1) * share,
  }));
}

function link(to: number, rttSeconds: number, bytesPerSecond: number | null = null): LinkReport {
  return { peer: peerId(to), rttSeconds, bytesPerSecond };
}

function meshOf(count: number, speed: (index: number) => number = () => 1): Measurements {
  const measurements = new Measurements([model]);
  for (let index = 0; index < count; index += 1) measurements.joined(peerId(index), claim(speed(index)), 0);
  return measurements;
}

/** How fast the server believes a peer to be at this moment, as a multiple of `claim()`. */
function effectiveSpeed(measurements: Measurements, index: number): number {
  const { matvecBytesPerSecond } = measurements.capability(peerId(index));
  return matvecBytesPerSecond / 5e10 / measurements.pace(peerId(index));
}

/** The requesters' words on each of these peers, as if every route over it took `factor` times the predicted. */
function say(
  measurements: Measurements,
  index: number,
  requester: number,
  factor: number,
  nowMs: number,
): void {
  measurements.outcome(
    peerId(1000 + requester),
    hops(index),
    0.01,
    { tokens: 50, seconds: 0.5 * factor },
    nowMs,
  );
}

describe('Measurements of speed', () => {
  it('believes a claim within reason, and nobody who did not join', () => {
    const measurements = new Measurements([model]);
    measurements.joined(peerId(0), { ...claim(), memoryBytes: 1e18, matvecBytesPerSecond: 1e18 }, 0);
    const believed = measurements.capability(peerId(0));
    expect(believed.memoryBytes).toBe(2 ** 40);
    expect(believed.matvecBytesPerSecond).toBe(20e12);
    expect(believed).toMatchObject({ matmulFlopsPerSecond: 2e12, adapter: 'test' });
    expect(() => measurements.capability(peerId(1))).toThrow(/does not lend/);
    expect(measurements.pace(peerId(1))).toBe(1);
    measurements.left(peerId(0));
    expect(() => measurements.capability(peerId(0))).toThrow(/does not lend/);
  });

  it('lets nobody make the others worthless by a claim of nothing', () => {
    const measurements = meshOf(1);
    const nothing = { ...claim(), matvecBytesPerSecond: 5e-324, matmulFlopsPerSecond: 5e-324 };
    for (const index of [1, 2]) measurements.joined(peerId(index), nothing, 0);
    const believed = measurements.capability(peerId(0));
    expect(believed.matvecBytesPerSecond).toBeGreaterThanOrEqual(1e6);
    expect(believed.matmulFlopsPerSecond).toBeGreaterThanOrEqual(1e8);
    expect(stepSeconds(model, believed, WHOLE, 1)).toBeLessThan(1000);
    // Nor once they are proven to be as slow as may be.
    for (let nowMs = 0; nowMs < 30 * MINUTE_MS; nowMs += 5 * SECOND_MS) {
      for (const index of [1, 2]) {
        measurements.outcome(peerId(1000), hops(index), 1, { tokens: 50, seconds: 50 }, nowMs);
        measurements.reported(
          peerId(index),
          { stage: { ...steps(claim(), 1), busySeconds: 1e6, seconds: 1e6 }, links: [] },
          nowMs,
        );
      }
    }
    expect(measurements.capability(peerId(0)).matvecBytesPerSecond).toBeGreaterThanOrEqual(1e6);
  });

  it('routes around a peer that says it is slow at once, and believes it slower for good after minutes', () => {
    const measurements = meshOf(3);
    for (let nowMs = 5 * SECOND_MS; nowMs <= 10 * MINUTE_MS; nowMs += 5 * SECOND_MS) {
      measurements.reported(peerId(0), { stage: steps(claim(), 3), links: [] }, nowMs);
      if (nowMs === 5 * SECOND_MS) expect(effectiveSpeed(measurements, 0)).toBeCloseTo(1 / 3, 3);
    }
    expect(effectiveSpeed(measurements, 0)).toBeCloseTo(1 / 3, 2);
    expect(measurements.pace(peerId(0))).toBeCloseTo(1, 1);
    expect(measurements.capability(peerId(0)).memoryBytes).toBe(8e9);
  });

  it('does not take a peer for faster by its own word', () => {
    const measurements = meshOf(3);
    for (let nowMs = 0; nowMs <= 10 * MINUTE_MS; nowMs += 5 * SECOND_MS) {
      measurements.reported(peerId(0), { stage: steps(claim(), 0.01), links: [] }, nowMs);
    }
    expect(effectiveSpeed(measurements, 0)).toBeLessThanOrEqual(1);
  });

  it('forgets a passing slowness in silence, so that the peer is tried again', () => {
    const measurements = meshOf(3);
    measurements.reported(peerId(0), { stage: steps(claim(), 1), links: [] }, 0);
    for (let nowMs = 5 * SECOND_MS; nowMs <= 30 * SECOND_MS; nowMs += 5 * SECOND_MS) {
      measurements.reported(peerId(0), { stage: steps(claim(), 8), links: [] }, nowMs);
    }
    expect(effectiveSpeed(measurements, 0)).toBeLessThan(0.4);
    measurements.network(10 * MINUTE_MS);
    expect(measurements.pace(peerId(0))).toBeCloseTo(1, 2);
    measurements.network(90 * MINUTE_MS);
    expect(effectiveSpeed(measurements, 0)).toBeCloseTo(1, 2);
  });

  it('lets one requester slow a peer eightfold at most and double it at most, and several do more', () => {
    const speedAfter = (factor: number, requesters: number) => {
      const measurements = meshOf(2);
      for (let nowMs = 0; nowMs <= 30 * MINUTE_MS; nowMs += 5 * SECOND_MS) {
        for (let requester = 0; requester < requesters; requester += 1) {
          say(measurements, 0, requester, factor, nowMs);
        }
      }
      return effectiveSpeed(measurements, 0);
    };
    expect(speedAfter(100, 1)).toBeCloseTo(1 / 8, 3);
    expect(speedAfter(100, 2)).toBeCloseTo(1 / 64, 3);
    expect(speedAfter(0.01, 1)).toBeCloseTo(2, 2);
    expect(speedAfter(0.01, 2)).toBeCloseTo(4, 2);
  });

  it('waits for a peer that computes all the time', () => {
    const paceAt = (busySeconds: number) => {
      const measurements = meshOf(1);
      const stage = { ...steps(claim(), 1), steps: 0, busySeconds, seconds: 5 };
      measurements.reported(peerId(0), { stage, links: [] }, 0);
      return measurements.pace(peerId(0));
    };
    expect(paceAt(2)).toBeLessThan(1.01);
    expect(paceAt(4.5)).toBeGreaterThan(1.5);
    expect(paceAt(5)).toBeCloseTo(4, 5);
  });

  it('goes with most requesters when few say otherwise', () => {
    const measurements = meshOf(2);
    for (let nowMs = 0; nowMs <= 10 * MINUTE_MS; nowMs += 5 * SECOND_MS) {
      for (let requester = 0; requester < 7; requester += 1) {
        const honest = effectiveSpeed(measurements, 0);
        say(measurements, 0, requester, requester < 3 ? 50 : honest, nowMs);
      }
    }
    expect(effectiveSpeed(measurements, 0)).toBeGreaterThan(0.7);
  });

  it('ignores what a requester says of itself, and answers too short to tell', () => {
    const measurements = meshOf(2);
    for (let nowMs = 0; nowMs <= MINUTE_MS; nowMs += SECOND_MS) {
      measurements.outcome(peerId(0), hops(0, 1), 0.01, { tokens: 50, seconds: 0.1 }, nowMs);
      measurements.outcome(peerId(1000), hops(0, 1), 0.01, { tokens: 2, seconds: 2 }, nowMs);
      measurements.outcome(peerId(1000), hops(0, 1), 0, { tokens: 50, seconds: 2 }, nowMs);
    }
    expect(effectiveSpeed(measurements, 0)).toBe(1);
    expect(effectiveSpeed(measurements, 1)).toBeGreaterThan(1);
  });

  it('comes to predict right when the whole mesh is slower than reckoned, and keeps peers as they are to each other', () => {
    const measurements = meshOf(4, (index) => index + 1);
    for (let nowMs = 0; nowMs <= 10 * MINUTE_MS; nowMs += 5 * SECOND_MS) {
      for (let index = 0; index < 4; index += 1) {
        measurements.reported(peerId(index), { stage: steps(claim(index + 1), 2), links: [] }, nowMs);
      }
    }
    for (let index = 0; index < 4; index += 1) {
      expect(effectiveSpeed(measurements, index)).toBeCloseTo((index + 1) / 2, 1);
      expect(measurements.capability(peerId(index)).matvecBytesPerSecond / 5e10).toBeCloseTo(index + 1, 0);
    }
    measurements.joined(peerId(9), claim(), 10 * MINUTE_MS);
    expect(measurements.pace(peerId(9))).toBeCloseTo(2, 1);
  });

  it('believes an unchecked claim up to four times the median of the checked, and a checked one further', () => {
    const measurements = meshOf(4);
    const check = (indices: readonly number[], fromMs: number) => {
      for (let nowMs = fromMs; nowMs <= fromMs + 5 * MINUTE_MS; nowMs += 5 * SECOND_MS) {
        for (const index of indices)
          for (let requester = 0; requester < 5; requester += 1) {
            const trueSpeed = index === 9 ? 16 : 1;
            const factor = effectiveSpeed(measurements, index) / trueSpeed;
            say(measurements, index, requester, factor, nowMs);
          }
      }
    };
    check([0, 1, 2, 3], 0);
    measurements.joined(peerId(9), claim(16), 6 * MINUTE_MS);
    expect(effectiveSpeed(measurements, 9)).toBeCloseTo(4, 1);
    check([0, 1, 2, 3, 9], 6 * MINUTE_MS);
    expect(effectiveSpeed(measurements, 9)).toBeGreaterThan(10);
    expect(measurements.capability(peerId(9)).matvecBytesPerSecond / 5e10).toBeGreaterThan(8);
  });

  it('takes numbers without sense for nothing worse than slow or fast', () => {
    const numbers = fc.oneof(
      fc.constantFrom(0, 1e-300, 1, 1e18),
      fc.double({ min: 0, max: 1e18, noNaN: true }),
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(numbers, numbers, numbers, numbers), { maxLength: 10 }), (list) => {
        const measurements = meshOf(2);
        list.forEach(([count, rows, busySeconds, tokens], index) => {
          const stage = { ...steps(claim(), 1), steps: count, rows, busySeconds, activeSequences: tokens };
          measurements.reported(peerId(0), { stage, links: [] }, index * 500);
          measurements.outcome(peerId(7), hops(0), rows, { tokens, seconds: busySeconds }, index * 500);
        });
        const speed = effectiveSpeed(measurements, 0);
        expect(speed).toBeGreaterThan(1e-6);
        expect(speed).toBeLessThanOrEqual(2.001);
        expect(measurements.busyShare(peerId(0), 0)).toBeLessThanOrEqual(1);
      }),
    );
  });
});

/**
 * Replicas of the whole model with true speeds, a constant number of requests under way, routed by what is believed.
 * @returns the share of requests each replica answered in the second half.
 */
function sharesOfWork({
  trueSpeeds,
  claims,
  requesters,
  lies,
  lateLies,
}: {
  readonly trueSpeeds: readonly number[];
  readonly claims: readonly number[];
  readonly requesters: number;
  readonly lies: ReadonlySet<number>;
  /** Whether liars join when honest peers have been checked already. */
  readonly lateLies: boolean;
}): number[] {
  const measurements = new Measurements([model]);
  const isLate = (index: number) => lateLies && lies.has(index);
  claims.forEach((speed, index) => {
    if (!isLate(index)) measurements.joined(peerId(index), claim(speed), 0);
  });
  const inFlight = trueSpeeds.map(() => 0);
  const answered = trueSpeeds.map(() => 0);
  const ends: { atMs: number; index: number; requester: number; predicted: number; seconds: number }[] = [];
  const TOKENS = 50;
  let nowMs = 0;
  let started = 0;

  const TOTAL = 600;
  const start = () => {
    const present = claims.flatMap((_, index) => (!isLate(index) || started > TOTAL / 4 ? [index] : []));
    for (const index of present) {
      const isNew = isLate(index) && started === Math.floor(TOTAL / 4) + 1;
      if (isNew) measurements.joined(peerId(index), claim(claims[index]), nowMs);
    }
    const members = present.map((index) => ({
      peer: peerId(index),
      capability: measurements.capability(peerId(index)),
      region: 0,
      cached: [],
      layerStart: 0,
      layerEnd: model.layerCount,
      inFlight: inFlight[index] ?? 0,
      reservedTokens: 0,
      cacheTokens: 1e9,
      pace: measurements.pace(peerId(index)),
    }));
    const decision = findRoute({
      card: model,
      members,
      exclude: new Set<PeerId>(),
      network: measurements.network(nowMs),
      requesterRegion: null,
      tokens: 100,
      previous: [],
    });
    if (decision.kind !== 'route') throw new Error('no route');
    const index = present.find((candidate) => peerId(candidate) === decision.hops[0]?.peer) ?? NaN;
    const rows = (inFlight[index] ?? 0) + 1;
    const trueClaim = claim(trueSpeeds[index]);
    const seconds = TOKENS * stepSeconds(model, trueClaim, WHOLE, rows, rows - 1);
    inFlight[index] = rows;
    ends.push({
      atMs: nowMs + seconds * SECOND_MS,
      index,
      requester: started % requesters,
      predicted: decision.secondsPerToken,
      seconds,
    });
    started += 1;
  };

  for (let request = 0; request < 12; request += 1) start();
  while (started < TOTAL) {
    ends.sort((a, b) => a.atMs - b.atMs);
    const end = ends.shift();
    if (end === undefined) break;
    nowMs = end.atMs;
    inFlight[end.index] = (inFlight[end.index] ?? 0) - 1;
    if (started > TOTAL / 2) answered[end.index] = (answered[end.index] ?? 0) + 1;
    const outcome = { tokens: TOKENS, seconds: end.seconds };
    measurements.outcome(peerId(1000 + end.requester), hops(end.index), end.predicted, outcome, nowMs);
    trueSpeeds.forEach((speed, index) => {
      const told = lies.has(index) ? 1e-6 : (claims[index] ?? 1) / speed;
      const expected = claim(claims[index]);
      measurements.reported(peerId(index), { stage: steps(expected, told), links: [] }, nowMs);
    });
    start();
  }
  const total = answered.reduce((sum, count) => sum + count, 0);
  return answered.map((count) => count / total);
}

describe('a peer cannot claim its way to work', () => {
  it.each([1, 2, 8])('with %i requesters', (requesters) => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 0.5, max: 2, noNaN: true }), { minLength: 3, maxLength: 6 }),
        fc.double({ min: 0.1, max: 1, noNaN: true }),
        fc.constantFrom(1000, 1e6),
        fc.boolean(),
        (honest, liar, boast, lateLies) => {
          const trueSpeeds = [...honest, liar];
          const claims = [...honest, liar * boast];
          const lies = new Set([honest.length]);
          const truthful = sharesOfWork({
            trueSpeeds,
            claims: trueSpeeds,
            requesters,
            lies: new Set(),
            lateLies,
          });
          const shares = sharesOfWork({ trueSpeeds, claims, requesters, lies, lateLies });
          const [before, after] = [truthful.at(-1) ?? NaN, shares.at(-1) ?? NaN];
          // More than its share at first, since somebody must find out; never most of the work.
          expect(after).toBeLessThan(Math.max(0.35, 3 * before));
        },
      ),
      { numRuns: 4, endOnFailure: true },
    );
  });
});

describe('Measurements of ways', () => {
  it('counts the worse word of both ends, and the only word of one', () => {
    const measurements = meshOf(3);
    measurements.reported(peerId(0), { stage: null, links: [link(1, 0.001, 1e9), link(2, 0.004)] }, 0);
    measurements.reported(peerId(1), { stage: null, links: [link(0, 0.05, 1e6)] }, 0);
    const { links } = measurements.network(2 * SECOND_MS);
    const first = links.get(peerId(0));
    expect(first?.get(peerId(1))?.rttSeconds).toBeCloseTo(0.05, 3);
    expect(first?.get(peerId(1))?.bytesPerSecond).toBe(1e6);
    expect(first?.get(peerId(2))?.rttSeconds).toBeCloseTo(0.004, 4);
    expect(first?.get(peerId(2))?.bytesPerSecond).toBeNull();
    expect(links.get(peerId(1))).toBeUndefined();
  });

  it('ignores links to oneself, to strangers, and of strangers', () => {
    const measurements = meshOf(1);
    measurements.reported(peerId(0), { stage: null, links: [link(0, 0.001), link(5, 0.001)] }, 0);
    measurements.reported(peerId(5), { stage: null, links: [link(0, 0.001)] }, 0);
    measurements.outcome(peerId(7), hops(5), 0.01, { tokens: 50, seconds: 50 }, 0);
    measurements.serverRoundTrip(peerId(5), 0.01, 0);
    expect(measurements.network(2 * SECOND_MS).links.size).toBe(0);
    expect(measurements.busyShare(peerId(5), 0)).toBe(0);
    expect(measurements.probesFor(peerId(5))).toEqual([]);
  });

  it('lets a link fade to the figure of its regions, and forgets it with its peer or after a while', () => {
    const measurements = meshOf(4);
    const all = (distance: (a: number, b: number) => number, nowMs: number) => {
      for (let a = 0; a < 4; a += 1) {
        const links = [0, 1, 2, 3].filter((b) => b !== a).map((b) => link(b, distance(a, b)));
        measurements.reported(peerId(a), { stage: null, links }, nowMs);
      }
    };
    all((a, b) => (a + b === 1 ? 0.02 : 0.01), 0);
    const rtt = (nowMs: number) =>
      measurements.network(nowMs).links.get(peerId(0))?.get(peerId(1))?.rttSeconds;
    expect(rtt(SECOND_MS)).toBeCloseTo(0.02, 3);
    expect(rtt(2 * MINUTE_MS)).toBeCloseTo(0.015, 3);
    expect(rtt(9 * MINUTE_MS)).toBeCloseTo(0.01, 3);
    expect(rtt(11 * MINUTE_MS)).toBeUndefined();
    all(() => 0.01, 12 * MINUTE_MS);
    expect(rtt(13 * MINUTE_MS)).toBeDefined();
    measurements.left(peerId(1));
    expect(rtt(14 * MINUTE_MS)).toBeUndefined();
  });

  it('gives the same network until five seconds passed, or somebody joins', () => {
    const measurements = meshOf(3);
    const before = measurements.network(10 * SECOND_MS);
    measurements.reported(peerId(0), { stage: null, links: [link(1, 0.004)] }, 10 * SECOND_MS + 1);
    expect(measurements.network(14 * SECOND_MS)).toBe(before);
    const after = measurements.network(15 * SECOND_MS);
    expect(after).not.toBe(before);
    expect(measurements.region(peerId(0))).toBeGreaterThanOrEqual(FIRST_MEASURED);
    expect(measurements.region(peerId(0))).toBe(measurements.region(peerId(1)));
    expect(measurements.region(peerId(2))).toBeLessThan(FIRST_MEASURED);
    measurements.joined(peerId(3), claim(), 15 * SECOND_MS);
    expect(measurements.network(15 * SECOND_MS)).not.toBe(after);
  });

  it('smooths what reports say, and lets a busy share fade in silence', () => {
    const measurements = meshOf(1);
    const busy = (share: number) => ({ ...steps(claim(), 1), busySeconds: 5 * share, seconds: 5 });
    measurements.reported(peerId(0), { stage: busy(1), links: [] }, 0);
    measurements.reported(peerId(0), { stage: busy(0), links: [] }, 15 * SECOND_MS);
    expect(measurements.busyShare(peerId(0), 15 * SECOND_MS)).toBeCloseTo(0.5, 5);
    expect(measurements.busyShare(peerId(0), 45 * SECOND_MS)).toBeCloseTo(0.25, 5);
    expect(measurements.cacheTokens(peerId(0))).toBe(2048);
  });

  it('asks newcomers for enough ways to tell where they are, and then no more', () => {
    // Three continents; each peer measures what it is asked to, once a second.
    const count = 60;
    const measurements = new Measurements([model]);
    const distance = (a: number, b: number) => (a % 3 === b % 3 ? 0.01 : 0.09);
    let nowMs = 0;
    let asked = 0;
    for (let round = 0; round < count + 3; round += 1) {
      if (round < count) measurements.joined(peerId(round), claim(), nowMs);
      nowMs += SECOND_MS;
      for (let peer = 0; peer <= Math.min(round, count - 1); peer += 1) {
        const probes = measurements.probesFor(peerId(peer));
        expect(probes.length).toBeLessThanOrEqual(MAX_PROBED_PEERS);
        asked += probes.length;
        const links = probes.map((other) => link(parseInt(other, 16), distance(peer, parseInt(other, 16))));
        measurements.reported(peerId(peer), { stage: null, links }, nowMs);
      }
      nowMs += SECOND_MS;
      measurements.network(nowMs);
    }
    const regions = Array.from({ length: count }, (_, index) => measurements.region(peerId(index)));
    for (let index = 3; index < count; index += 1) expect(regions[index]).toBe(regions[index % 3]);
    expect(new Set(regions).size).toBe(3);
    expect(asked / count).toBeLessThan(MAX_PROBED_PEERS + 1);
    for (let index = 0; index < count; index += 1) expect(measurements.probesFor(peerId(index))).toEqual([]);
  });
});
