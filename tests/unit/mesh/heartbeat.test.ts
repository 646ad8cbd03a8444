import { describe, expect, it } from 'vitest';
import { Heartbeat } from '../../../src/mesh/heartbeat.ts';
import { LINK_PING_AFTER_MS, LINK_SILENCE_MS } from '../../../src/protocol/limits.ts';
import { ManualClock } from './manual-clock.ts';

/** @param answers whether each knock is answered at once. */
function rig({ answers = false } = {}) {
  const clock = new ManualClock();
  const knocks: number[] = [];
  const silentAt: number[] = [];
  const heartbeat = new Heartbeat({
    clock,
    knock: () => {
      knocks.push(clock.now());
      if (answers) heartbeat.heard();
    },
    onSilent: () => silentAt.push(clock.now()),
  });
  return { clock, knocks, silentAt, heartbeat };
}

describe('the heartbeat of a link', () => {
  it('knocks at a silent end and gives it up, to the millisecond', () => {
    const { clock, knocks, silentAt } = rig();
    clock.advance(60_000);
    expect(knocks).toEqual([1000, 2000]);
    expect(silentAt).toEqual([LINK_SILENCE_MS]);
    expect(clock.pendingTimers).toBe(0);
  });

  it.each([0, 1, 499, 999])('counts from when it last heard, %i ms after a look', (offsetMs) => {
    const { clock, silentAt, heartbeat } = rig({ answers: false });
    for (let second = 0; second < 20; second += 1) {
      clock.advance(second === 0 ? offsetMs : 1000);
      heartbeat.heard();
    }
    const lastHeardMs = clock.now();
    clock.advance(LINK_SILENCE_MS - 1);
    expect(silentAt).toEqual([]);
    clock.advance(1);
    expect(silentAt).toEqual([lastHeardMs + LINK_SILENCE_MS]);
  });

  it('does not knock where both ends talk', () => {
    const { clock, knocks, heartbeat } = rig();
    for (let count = 0; count < 100; count += 1) {
      heartbeat.heard();
      heartbeat.spoke();
      clock.advance(100);
    }
    expect(knocks).toEqual([]);
  });

  it('speaks up where it only listens: the other end may be waiting to hear something', () => {
    const { clock, knocks, heartbeat } = rig();
    for (let count = 0; count < 100; count += 1) {
      clock.advance(100);
      heartbeat.heard();
    }
    expect(knocks.length).toBeGreaterThanOrEqual(5);
    const gaps = knocks.slice(1).map((at, index) => at - (knocks[index] ?? 0));
    expect(Math.max(...gaps)).toBeLessThanOrEqual(2 * LINK_PING_AFTER_MS);
  });

  it('is content with answers alone', () => {
    const { clock, knocks, silentAt } = rig({ answers: true });
    clock.advance(100_000);
    expect(silentAt).toEqual([]);
    expect(knocks.length).toBeGreaterThanOrEqual(99);
  });

  it('forgives its own pause once: what came meanwhile is heard right after', () => {
    const { clock, silentAt, heartbeat } = rig();
    clock.advance(500);
    // This side stands still for eight seconds; the look that was due at 1000 comes first when it goes on.
    clock.pauseUntil(8500);
    expect(silentAt).toEqual([]);
    heartbeat.heard();
    clock.advance(LINK_SILENCE_MS - 1);
    expect(silentAt).toEqual([]);
    clock.advance(1);
    expect(silentAt).toHaveLength(1);
  });

  it('gives a silent end no more than a second for its own pause', () => {
    const { clock, silentAt } = rig();
    clock.pauseUntil(8500);
    clock.advance(LINK_PING_AFTER_MS - 1);
    expect(silentAt).toEqual([]);
    clock.advance(1);
    expect(silentAt).toEqual([9500]);
  });

  it('does not wait for ever because it is always late itself', () => {
    const { clock, silentAt } = rig();
    for (let count = 1; count <= 4; count += 1) clock.pauseUntil(count * 5000);
    expect(silentAt).toEqual([10_000]);
  });

  it('says nothing once it is stopped', () => {
    const { clock, knocks, silentAt, heartbeat } = rig();
    heartbeat.stop();
    heartbeat.stop();
    clock.advance(10_000);
    expect({ knocks, silentAt, timers: clock.pendingTimers }).toEqual({
      knocks: [],
      silentAt: [],
      timers: 0,
    });
  });
});
