import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { serveTimers } from '../../../src/contributor/timer-service.ts';
import type { TimerCommand } from '../../../src/contributor/timer-service.ts';
import { WorkerClock } from '../../../src/contributor/worker-clock.ts';
import type { ClockPort } from '../../../src/contributor/worker-clock.ts';
import { ManualClock } from '../mesh/manual-clock.ts';

class FakePort implements ClockPort {
  readonly commands: TimerCommand[] = [];
  onmessage: ((event: MessageEvent<number>) => void) | null = null;
  onerror: ((event: ErrorEvent) => void) | null = null;

  postMessage(command: TimerCommand): void {
    this.commands.push(command);
  }

  ring(id: number): void {
    this.onmessage?.(new MessageEvent('message', { data: id }));
  }

  fail(): void {
    this.onerror?.(new Event('error') as ErrorEvent);
  }
}

function rig() {
  const port = new FakePort();
  const own = new ManualClock();
  const rung: string[] = [];
  const clock = new WorkerClock(port, own);
  const set = (name: string, delayMs: number) => clock.after(delayMs, () => rung.push(name));
  return { port, own, rung, clock, set };
}

describe('a clock that a worker keeps', () => {
  it('rings when the worker says so, once, and needs no timer of the page', () => {
    const { port, own, rung, clock, set } = rig();
    set('a', 100);
    set('b', 50);
    expect(port.commands).toEqual([
      { type: 'set', id: 0, delayMs: 100 },
      { type: 'set', id: 1, delayMs: 50 },
    ]);
    port.ring(1);
    port.ring(1);
    expect(rung).toEqual(['b']);
    own.advance(1000);
    expect({ rung, pending: clock.pending }).toEqual({ rung: ['b'], pending: 1 });
    expect(clock.now()).toBe(1000);
  });

  it('does not ring what was cancelled, even if the worker was quicker', () => {
    const { port, rung, clock, set } = rig();
    const cancel = set('a', 100);
    cancel();
    cancel();
    port.ring(0);
    expect({ rung, pending: clock.pending }).toEqual({ rung: [], pending: 0 });
    expect(port.commands.at(-1)).toEqual({ type: 'cancel', id: 0 });
    expect(port.commands).toHaveLength(2);
  });

  it('goes on without a worker that fails, with what is left of each wait', () => {
    const { port, own, rung, set, clock } = rig();
    set('a', 100);
    const cancel = set('b', 200);
    own.advance(60);
    port.fail();
    set('c', 10);
    own.advance(10);
    expect(rung).toEqual(['c']);
    own.advance(29);
    expect(rung).toEqual(['c']);
    own.advance(1);
    expect(rung).toEqual(['c', 'a']);
    cancel();
    own.advance(1000);
    expect({ rung, pending: clock.pending, timers: own.pendingTimers }).toEqual({
      rung: ['c', 'a'],
      pending: 0,
      timers: 0,
    });
  });

  it('does without a worker where there is none', () => {
    const own = new ManualClock();
    const clock = new WorkerClock(null, own);
    const rung: string[] = [];
    clock.after(10, () => rung.push('a'));
    clock.after(20, () => rung.push('b'))();
    own.advance(20);
    expect({ rung, pending: clock.pending, timers: own.pendingTimers }).toEqual({
      rung: ['a'],
      pending: 0,
      timers: 0,
    });
  });
});

describe('the worker of that clock', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it('rings each timer once, at its time, unless it was cancelled', () => {
    const rung: number[] = [];
    const handle = serveTimers((id) => rung.push(id));
    handle({ type: 'set', id: 7, delayMs: 100 });
    handle({ type: 'set', id: 8, delayMs: 50 });
    handle({ type: 'set', id: 9, delayMs: 60 });
    vi.advanceTimersByTime(50);
    expect(rung).toEqual([8]);
    handle({ type: 'cancel', id: 9 });
    handle({ type: 'cancel', id: 99 });
    vi.advanceTimersByTime(1000);
    expect(rung).toEqual([8, 7]);
    expect(vi.getTimerCount()).toBe(0);
  });
});
