import { beforeEach, describe, expect, it } from 'vitest';
import type { MessagePipe } from '../../../src/mesh/frame-channel.ts';
import { UnreliablePipe } from '../../chaos/unreliable-pipe.ts';
import type { WireTrouble } from '../../chaos/unreliable-pipe.ts';

let sent: number[][];
let closed: boolean;
let trouble: WireTrouble | null;
let draws: number[];
let timers: (() => void)[];
let harmed: string[];
let pipe: UnreliablePipe;

const inner: MessagePipe = {
  bufferedAmount: 3,
  send: (message) => sent.push([...message]),
  close: () => (closed = true),
  listen: () => undefined,
};

beforeEach(() => {
  sent = [];
  closed = false;
  trouble = null;
  draws = [];
  timers = [];
  harmed = [];
  pipe = new UnreliablePipe(inner, {
    trouble: () => trouble,
    random: () => draws.shift() ?? 0,
    after: (_, run) => void timers.push(run),
    onHarm: (kind) => harmed.push(kind),
  });
});

const send = (...bytes: number[]) => pipe.send(Uint8Array.from(bytes));

describe('an unreliable pipe', () => {
  it('passes messages on while there is no trouble', () => {
    send(1, 2);
    send(3);
    expect(sent).toEqual([[1, 2], [3]]);
    expect(pipe.bufferedAmount).toBe(3);
  });

  it('harms the share of messages that it was told to', () => {
    trouble = { kind: 'corrupt', share: 0.25 };
    draws = [0.25];
    send(1);
    expect(sent).toEqual([[1]]);
    expect(harmed).toEqual([]);
  });

  it('flips one bit of a copy', () => {
    trouble = { kind: 'corrupt', share: 1 };
    draws = [0, 0.5];
    const message = Uint8Array.from([0, 0]);
    pipe.send(message);
    expect(sent).toEqual([[0, 1]]);
    expect([...message]).toEqual([0, 0]);
    expect(harmed).toEqual(['corrupt']);
  });

  it('sends a message twice', () => {
    trouble = { kind: 'duplicate', share: 1 };
    send(5);
    expect(sent).toEqual([[5], [5]]);
  });

  it('lets a message be overtaken by the next, once', () => {
    trouble = { kind: 'reorder', share: 1 };
    send(1);
    expect(sent).toEqual([]);
    trouble = null;
    send(2);
    expect(sent).toEqual([[2], [1]]);
    timers.forEach((run) => run());
    expect(sent).toEqual([[2], [1]]);
  });

  it('sends a message late that nothing follows, and not at all once it is closed', () => {
    trouble = { kind: 'reorder', share: 1 };
    send(1);
    timers.splice(0).forEach((run) => run());
    expect(sent).toEqual([[1]]);
    send(2);
    pipe.close();
    timers.forEach((run) => run());
    expect(sent).toEqual([[1]]);
    expect(closed).toBe(true);
  });
});
