import { describe, expect, it } from 'vitest';
import type { EchoMessage } from '../../../src/mesh/framing.ts';
import { LinkGauge } from '../../../src/mesh/link-gauge.ts';
import {
  MAX_PONG_BURST,
  PING_INTERVAL_MS,
  PONG_REFILL_MS,
  PONG_TIMEOUT_MS,
  SEND_HIGH_WATER_BYTES,
} from '../../../src/protocol/limits.ts';
import { settled } from './local-mesh.ts';
import { ManualClock } from './manual-clock.ts';

const LARGE = 512 * 1024;

function rig() {
  const clock = new ManualClock();
  const sent: EchoMessage[] = [];
  const queue = { bytes: 0 };
  let nonce = 100;
  const gauge = new LinkGauge({
    clock,
    newNonce: () => nonce++,
    send: (echo) => sent.push(echo),
    queuedBytes: () => queue.bytes,
  });
  const pong = (afterMs: number) => {
    clock.advance(afterMs);
    gauge.receive({ kind: 'pong', nonce: sent.at(-1)?.nonce ?? 0 });
  };
  const frame = (sizeBytes: number) => {
    gauge.frameBegins(sizeBytes);
    gauge.frameEnded();
  };
  return { clock, sent, queue, gauge, pong, frame };
}

function isDone(promise: Promise<void>): { value: boolean } {
  const done = { value: false };
  void promise.then(() => (done.value = true));
  return done;
}

describe('what a link gauge measures', () => {
  it('takes the shortest round trip of late', () => {
    const { gauge, pong, frame, clock } = rig();
    expect(gauge.measurement).toBeNull();
    for (const ms of [40, 12, 95]) {
      frame(10);
      pong(ms);
      clock.advance(PING_INTERVAL_MS);
    }
    expect(gauge.measurement).toEqual({ rttSeconds: 0.012, bytesPerSecond: null });
  });

  it('times a large frame by the ping behind it, less the round trip', () => {
    const { gauge, pong, frame, clock, sent } = rig();
    frame(10);
    pong(20);
    clock.advance(PING_INTERVAL_MS);
    gauge.frameBegins(LARGE);
    expect(sent).toHaveLength(1);
    clock.advance(300);
    gauge.frameEnded();
    expect(sent).toHaveLength(2);
    pong(220);
    expect(gauge.measurement).toEqual({ rttSeconds: 0.02, bytesPerSecond: LARGE / 0.5 });
  });

  it('measures round trips and frames in turn, and frames only where they are large enough', () => {
    const { gauge, pong, frame, clock } = rig();
    const rates: (number | null | undefined)[] = [];
    for (const sizeBytes of [LARGE, LARGE, LARGE, 1000]) {
      frame(sizeBytes);
      pong(10);
      rates.push(gauge.measurement?.bytesPerSecond);
      clock.advance(PING_INTERVAL_MS);
    }
    // The second took a whole round trip, the shortest time there is for it.
    expect(rates).toEqual([null, LARGE / 0.001, LARGE / 0.001, LARGE / 0.001]);
  });

  it('goes on with round trips where all frames are large, and takes the highest rate', () => {
    const { gauge, pong, frame, clock } = rig();
    for (const ms of [10, 510, 8, 108, 9, 1008]) {
      frame(LARGE);
      pong(ms);
      clock.advance(PING_INTERVAL_MS);
    }
    expect(gauge.measurement).toEqual({ rttSeconds: 0.008, bytesPerSecond: LARGE / 0.1 });
  });

  it('keeps few samples, the latest', () => {
    const { gauge, pong, frame, clock } = rig();
    for (let sample = 0; sample < 9; sample += 1) {
      frame(10);
      pong(sample === 0 ? 1 : 30);
      clock.advance(PING_INTERVAL_MS);
    }
    expect(gauge.measurement?.rttSeconds).toBe(0.03);
  });

  it('forgets what is old', () => {
    const { gauge, pong, frame, clock } = rig();
    frame(10);
    pong(5);
    clock.advance(60_000);
    expect(gauge.measurement).not.toBeNull();
    clock.advance(1);
    expect(gauge.measurement).toBeNull();
  });
});

describe('what a link gauge costs', () => {
  it('pings no more often than the interval, however many frames there are', () => {
    const { clock, sent, pong, frame } = rig();
    for (let ms = 0; ms < 10 * PING_INTERVAL_MS; ms += 10) {
      frame(100);
      if (ms % PING_INTERVAL_MS === 0) pong(0);
      clock.advance(10);
    }
    expect(sent).toHaveLength(10);
  });

  it('sends nothing on an idle link', () => {
    const { clock, sent } = rig();
    clock.advance(100 * PING_INTERVAL_MS);
    expect(sent).toEqual([]);
    expect(clock.pendingTimers).toBe(0);
  });

  it('does not ping behind a queue', () => {
    const { queue, sent, frame } = rig();
    queue.bytes = 1;
    frame(100);
    expect(sent).toEqual([]);
  });

  it('waits for an answer before the next ping, but not for ever', () => {
    const { clock, sent, frame, gauge } = rig();
    frame(100);
    clock.advance(PONG_TIMEOUT_MS - 1);
    frame(100);
    expect(sent).toHaveLength(1);
    clock.advance(1);
    frame(100);
    expect(sent).toHaveLength(2);
    gauge.receive({ kind: 'pong', nonce: sent[0]?.nonce ?? 0 });
    expect(gauge.measurement).toBeNull();
  });

  it('rations its pongs to a peer that floods it, and goes on when there is peace', () => {
    const { clock, sent, gauge } = rig();
    for (let nonce = 0; nonce < 10_000; nonce += 1) gauge.receive({ kind: 'ping', nonce });
    expect(sent).toHaveLength(MAX_PONG_BURST);
    expect(sent.every(({ kind }, index) => kind === 'pong' && sent[index]?.nonce === index)).toBe(true);
    clock.advance(PONG_REFILL_MS);
    for (let nonce = 0; nonce < 10; nonce += 1) gauge.receive({ kind: 'ping', nonce });
    expect(sent).toHaveLength(MAX_PONG_BURST + 1);
    clock.advance(1000 * PONG_REFILL_MS);
    for (let nonce = 0; nonce < 100; nonce += 1) gauge.receive({ kind: 'ping', nonce });
    expect(sent).toHaveLength(2 * MAX_PONG_BURST + 1);
  });

  it('does not answer a peer that does not read', () => {
    const { queue, sent, gauge } = rig();
    queue.bytes = SEND_HIGH_WATER_BYTES + 1;
    gauge.receive({ kind: 'ping', nonce: 1 });
    expect(sent).toEqual([]);
  });

  it('believes no pong that it did not ask for, and none twice', () => {
    const { gauge, sent, frame, clock } = rig();
    gauge.receive({ kind: 'pong', nonce: 0 });
    frame(10);
    gauge.receive({ kind: 'pong', nonce: 7 });
    expect(gauge.measurement).toBeNull();
    clock.advance(30);
    const nonce = sent[0]?.nonce ?? 0;
    gauge.receive({ kind: 'pong', nonce });
    gauge.receive({ kind: 'pong', nonce });
    expect(gauge.measurement).toEqual({ rttSeconds: 0.03, bytesPerSecond: null });
  });
});

describe('a probe', () => {
  it('measures at once, also right after another ping, and ends with the pong', async () => {
    const { gauge, sent, frame, pong } = rig();
    frame(10);
    pong(1);
    const done = isDone(gauge.probe());
    expect(sent).toHaveLength(2);
    await settled();
    expect(done.value).toBe(false);
    pong(3);
    await settled();
    expect(done.value).toBe(true);
    expect(gauge.measurement?.rttSeconds).toBe(0.001);
  });

  it('shares the ping that is out', async () => {
    const { gauge, sent, pong } = rig();
    const probes = [gauge.probe(), gauge.probe(), gauge.probe()].map(isDone);
    expect(sent).toHaveLength(1);
    pong(2);
    await settled();
    expect(probes.map(({ value }) => value)).toEqual([true, true, true]);
  });

  it('ends at once where frames are queued, and with the link', async () => {
    const { gauge, queue, sent } = rig();
    const waiting = isDone(gauge.probe());
    gauge.end();
    queue.bytes = 5;
    const { gauge: other, queue: otherQueue } = rig();
    otherQueue.bytes = 5;
    const refused = isDone(other.probe());
    await settled();
    expect([waiting.value, refused.value]).toEqual([true, true]);
    expect(sent).toHaveLength(1);
  });
});
