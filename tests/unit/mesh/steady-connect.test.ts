import { beforeEach, describe, expect, it } from 'vitest';
import { StandstillWatch, steadyConnect } from '../../../src/mesh/steady-connect.ts';
import type { MessagePipe } from '../../../src/mesh/frame-channel.ts';

/** A process whose time passes by hand: in ticks, or all at once while it stands still. */
function handProcess() {
  let nowMs = 1_000;
  let tick: () => void = () => undefined;
  let everyMs = Infinity;
  const watch = new StandstillWatch({
    now: () => nowMs,
    every: (ms, run) => ([everyMs, tick] = [ms, run]),
  });
  return {
    watch,
    run: (ms: number) => {
      for (let passed = 0; passed < ms; passed += everyMs) {
        nowMs += everyMs;
        tick();
      }
    },
    standStill: (ms: number) => void (nowMs += ms),
  };
}

describe('steadyConnect', () => {
  let hand: ReturnType<typeof handProcess>;
  let sent: number[];
  let drains: number;
  let pipe: MessagePipe;

  beforeEach(() => {
    hand = handProcess();
    [sent, drains] = [[], 0];
    const native: MessagePipe = {
      bufferedAmount: 5,
      send: ([byte = 0]) => void sent.push(byte),
      close: () => undefined,
      listen: () => undefined,
    };
    const opened: MessagePipe[] = [];
    const connect = steadyConnect((options) => {
      options.onOpen(native);
      return { signal: () => undefined, close: () => undefined };
    }, hand.watch);
    const ignore = () => undefined;
    connect({ isInitiator: true, onSignal: ignore, onOpen: (each) => opened.push(each), onClosed: ignore });
    [pipe = native] = opened;
    pipe.listen({ message: ignore, drain: () => (drains += 1) });
  });

  it('writes at once while the process runs', () => {
    hand.run(2_000);
    pipe.send(Uint8Array.of(1));
    expect([sent, pipe.bufferedAmount]).toEqual([[1], 5]);
  });

  it('holds back after a standstill, before the first tick too, and keeps the order', () => {
    hand.run(1_000);
    hand.standStill(3_000);
    pipe.send(Uint8Array.of(1));
    hand.run(100);
    pipe.send(Uint8Array.of(2, 0));
    expect([sent, pipe.bufferedAmount, drains]).toEqual([[], 8, 0]);
    hand.run(300);
    expect([sent, pipe.bufferedAmount, drains]).toEqual([[1, 2], 5, 1]);
    pipe.send(Uint8Array.of(3));
    expect(sent).toEqual([1, 2, 3]);
  });

  it('is not held up by a tick that is a little late', () => {
    hand.run(1_000);
    hand.standStill(350);
    hand.run(100);
    pipe.send(Uint8Array.of(1));
    expect(sent).toEqual([1]);
  });

  it('holds back once more when it stands still again meanwhile', () => {
    hand.run(1_000);
    hand.standStill(3_000);
    pipe.send(Uint8Array.of(1));
    hand.run(200);
    hand.standStill(3_000);
    hand.run(200);
    expect(sent).toEqual([]);
    hand.run(300);
    expect(sent).toEqual([1]);
  });
});
