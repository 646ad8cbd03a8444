import { describe, expect, it } from 'vitest';
import { FrameChannel } from '../../../src/mesh/frame-channel.ts';
import { frameCost } from '../../../src/mesh/flow-window.ts';
import { encodeControl, FrameAssembly, numberMessage, splitFrame } from '../../../src/mesh/framing.ts';
import type { ControlMessage } from '../../../src/mesh/framing.ts';
import { SkeinError } from '../../../src/protocol/errors.ts';
import {
  FRAME_ASSEMBLY_TIMEOUT_MS,
  GREETING_INTERVAL_MS,
  LINK_PING_AFTER_MS,
  LINK_SILENCE_MS,
  LINK_WINDOW_BYTES,
  MAX_FRAME_BYTES,
  MAX_MESSAGE_BURST,
  MAX_MESSAGE_BYTES,
  MAX_MESSAGES_PER_SECOND,
  SEND_HIGH_WATER_BYTES,
  SEND_LOW_WATER_BYTES,
  SEND_STALL_TIMEOUT_MS,
  SUSPICION_MS,
} from '../../../src/protocol/limits.ts';
import { FakePipe } from './fake-pipe.ts';
import { settled } from './local-mesh.ts';
import { ManualClock } from './manual-clock.ts';

const MIB = 1024 * 1024;

/** @param waits whether frames wait here until the test says that they are handled. */
function open({ isAlive = true, waits = false, greets = true } = {}) {
  const pipe = new FakePipe(isAlive, greets);
  const clock = new ManualClock();
  const frames: Uint8Array[] = [];
  const broken: string[] = [];
  const faults: string[] = [];
  const handlers: (() => void)[] = [];
  const channel = new FrameChannel({
    pipe,
    clock,
    onFrame: (frame) => {
      frames.push(frame);
      return waits ? new Promise<void>((resolve) => handlers.push(resolve)) : null;
    },
    onBroken: ({ code }, fault) => {
      broken.push(code);
      faults.push(fault);
    },
  });
  return { pipe, clock, frames, broken, faults, handlers, channel };
}

function outcomeOf(promise: Promise<void>): { state: string } {
  const outcome = { state: 'waiting' };
  promise.then(
    () => (outcome.state = 'sent'),
    (error: unknown) => (outcome.state = error instanceof SkeinError ? error.code : String(error)),
  );
  return outcome;
}

describe('sending over a frame channel', () => {
  it('waits above the high-water mark and goes on at the low one', async () => {
    const { pipe, channel } = open();
    const outcome = outcomeOf(channel.send(new Uint8Array(4 * MIB)));
    await settled();
    expect(outcome.state).toBe('waiting');
    expect(pipe.bufferedAmount).toBeGreaterThan(SEND_HIGH_WATER_BYTES);
    expect(pipe.bufferedAmount).toBeLessThanOrEqual(SEND_HIGH_WATER_BYTES + MAX_MESSAGE_BYTES);
    const sentBefore = pipe.sent.length;
    pipe.drainTo(SEND_LOW_WATER_BYTES + 1);
    await settled();
    expect(pipe.sent).toHaveLength(sentBefore);
    for (let round = 0; round < 10; round += 1) {
      pipe.drainTo(0);
      await settled();
    }
    expect(outcome.state).toBe('sent');
    expect(pipe.largestBufferedAmount).toBeLessThanOrEqual(SEND_HIGH_WATER_BYTES + MAX_MESSAGE_BYTES);
  });

  it('does not mix the messages of frames sent at the same time', async () => {
    const { pipe, channel } = open();
    const sizes = [3 * MIB, 10, 2 * MIB, 1];
    const outcomes = sizes.map((size, index) => outcomeOf(channel.send(new Uint8Array(size).fill(index))));
    for (let round = 0; round < 20; round += 1) {
      await settled();
      pipe.drainTo(0);
    }
    expect(outcomes.map(({ state }) => state)).toEqual(['sent', 'sent', 'sent', 'sent']);
    const assembly = new FrameAssembly();
    const frames = pipe.sent.map((message) => assembly.push(message)).filter((frame) => frame !== null);
    expect(frames.map((frame) => [frame.length, frame[0]])).toEqual(
      sizes.map((size, index) => [size, index]),
    );
  });

  it('fails every waiting send when the channel is finished, once', async () => {
    const { pipe, channel, broken, clock } = open();
    const outcomes = [channel.send(new Uint8Array(4 * MIB)), channel.send(new Uint8Array(1))].map(outcomeOf);
    await settled();
    channel.finish(new SkeinError('peer-lost', 'gone'));
    channel.finish(new SkeinError('internal', 'too late'));
    await settled();
    expect(outcomes.map(({ state }) => state)).toEqual(['peer-lost', 'peer-lost']);
    await expect(channel.send(new Uint8Array(1))).rejects.toMatchObject({ code: 'peer-lost' });
    expect({ isClosed: pipe.isClosed, broken, timers: clock.pendingTimers }).toEqual({
      isClosed: true,
      broken: [],
      timers: 0,
    });
  });

  it('goes on after a frame that cannot travel', async () => {
    const { channel, pipe } = open();
    await expect(channel.send(new Uint8Array(0))).rejects.toMatchObject({ code: 'bad-argument' });
    await channel.send(Uint8Array.of(1));
    expect(pipe.sent).toHaveLength(1);
  });

  it('has patience with a queue that gets shorter', async () => {
    const { channel, clock, broken, pipe } = open();
    outcomeOf(channel.send(new Uint8Array(4 * MIB)));
    await settled();
    for (let bytes = pipe.bufferedAmount - 10_000; bytes > SEND_LOW_WATER_BYTES; bytes -= 100_000) {
      // Queued on a network so slow that only this much left it.
      pipe.bufferedAmount = bytes;
      clock.advance(SEND_STALL_TIMEOUT_MS);
    }
    expect(broken).toEqual([]);
    clock.advance(2 * SEND_STALL_TIMEOUT_MS);
    expect(broken).toEqual(['timeout']);
  });

  it('begins no frame while too much waits at the other end, and goes on when that was handled', async () => {
    const { pipe, channel, clock, broken } = open({ isAlive: false });
    const frame = new Uint8Array(LINK_WINDOW_BYTES / 2);
    const outcomes = [channel.send(frame), channel.send(frame), channel.send(frame)].map(outcomeOf);
    const keepAlive = () => pipe.hear({ kind: 'pong', nonce: 0 });
    for (let round = 0; round < 40; round += 1) {
      pipe.drainTo(0);
      await settled();
    }
    expect(outcomes.map(({ state }) => state)).toEqual(['sent', 'sent', 'waiting']);
    pipe.hear({ kind: 'handled', total: frameCost(frame.length) });
    for (let round = 0; round < 40; round += 1) {
      pipe.drainTo(0);
      await settled();
    }
    expect(outcomes.map(({ state }) => state)).toEqual(['sent', 'sent', 'sent']);
    const last = outcomeOf(channel.send(frame));
    await settled();
    for (let second = 0; second < SEND_STALL_TIMEOUT_MS / 1000; second += 1) {
      expect({ broken, state: last.state }).toEqual({ broken: [], state: 'waiting' });
      keepAlive();
      clock.advance(1000);
    }
    await settled();
    expect({ broken, state: last.state }).toEqual({ broken: ['timeout'], state: 'timeout' });
  });

  it('breaks with a receiver that handled more than there was', () => {
    const { pipe, broken, faults } = open();
    pipe.hear({ kind: 'handled', total: 1 });
    expect({ broken, faults }).toEqual({ broken: ['bad-frame'], faults: ['broken'] });
  });

  it('numbers its messages, whatever they are', async () => {
    const { pipe, channel } = open();
    await channel.send(new Uint8Array(200_000));
    await channel.send(Uint8Array.of(1));
    channel.finish(new SkeinError('aborted', 'over'));
    expect(pipe.numbers).toEqual(pipe.numbers.map((_, index) => index));
    expect(pipe.numbers.length).toBeGreaterThan(5);
    expect(pipe.notices.at(-1)).toEqual({ kind: 'bye' });
  });

  it('gives up on a peer that stops reading', async () => {
    const { channel, clock, broken, pipe } = open();
    const outcome = outcomeOf(channel.send(new Uint8Array(4 * MIB)));
    await settled();
    clock.advance(SEND_STALL_TIMEOUT_MS - 1);
    expect(broken).toEqual([]);
    clock.advance(1);
    await settled();
    expect({ broken, state: outcome.state, isClosed: pipe.isClosed }).toEqual({
      broken: ['timeout'],
      state: 'timeout',
      isClosed: true,
    });
  });
});

describe('receiving over a frame channel', () => {
  it('gives out whole frames in order', () => {
    const { pipe, frames, broken } = open();
    for (const size of [5, 200_000, 1])
      for (const message of splitFrame(new Uint8Array(size))) pipe.deliver(message);
    expect(frames.map(({ length }) => length)).toEqual([5, 200_000, 1]);
    expect(broken).toEqual([]);
  });

  it('closes on the first message that breaks the rules, and hears nothing after', () => {
    const { pipe, frames, broken } = open();
    pipe.deliver(Uint8Array.of(9, 9, 9));
    for (const message of splitFrame(Uint8Array.of(1))) pipe.deliver(message);
    expect({ frames, broken, isClosed: pipe.isClosed }).toEqual({
      frames: [],
      broken: ['bad-frame'],
      isClosed: true,
    });
  });

  it('closes on a frame that does not go on, however slowly it came before', () => {
    const { pipe, clock, broken, faults } = open();
    const [first = new Uint8Array(), second = new Uint8Array()] = splitFrame(new Uint8Array(300_000));
    pipe.deliver(first);
    clock.advance(FRAME_ASSEMBLY_TIMEOUT_MS - 1);
    pipe.deliver(second);
    clock.advance(FRAME_ASSEMBLY_TIMEOUT_MS - 1);
    expect(broken).toEqual([]);
    clock.advance(1);
    expect({ broken, faults }).toEqual({ broken: ['bad-frame'], faults: ['broken'] });
  });

  it('tells the sender what was handled, and holds no more of it than is allowed', async () => {
    const { pipe, frames, handlers, broken, faults, channel } = open({ waits: true });
    const sizeBytes = LINK_WINDOW_BYTES / 4;
    const deliver = (size: number) => {
      for (const message of splitFrame(new Uint8Array(size))) pipe.deliver(message);
    };
    deliver(sizeBytes);
    expect(channel.waitingBytes).toBe(frameCost(sizeBytes));
    expect(pipe.notices).toEqual([]);
    handlers.shift()?.();
    await settled();
    expect(pipe.notices).toEqual([{ kind: 'handled', total: frameCost(sizeBytes) }]);
    expect(channel.waitingBytes).toBe(0);
    // One byte less than closes the window: an honest sender may begin one more, of any size.
    deliver(LINK_WINDOW_BYTES - 1 - frameCost(0));
    deliver(MAX_FRAME_BYTES);
    expect(broken).toEqual([]);
    deliver(1);
    expect({ broken, faults, frames: frames.length }).toEqual({
      broken: ['bad-frame'],
      faults: ['flood'],
      frames: handlers.length + 1,
    });
  });

  it('counts a small frame for more than its bytes', () => {
    const { pipe, broken, handlers } = open({ waits: true });
    const [message = new Uint8Array()] = splitFrame(Uint8Array.of(1));
    const allowed = LINK_WINDOW_BYTES + frameCost(MAX_FRAME_BYTES);
    while (broken.length === 0 && handlers.length < allowed) pipe.deliver(message);
    // Either of the two caps ends it: what waits, or the rate of messages.
    expect(handlers.length).toBeLessThanOrEqual(
      Math.min(MAX_MESSAGE_BURST, Math.floor(allowed / frameCost(1))),
    );
    expect(broken).toEqual(['bad-frame']);
  });

  it('takes any number of messages at an honest rate, and no flood', () => {
    const { pipe, clock, broken, faults } = open();
    const [message = new Uint8Array()] = splitFrame(Uint8Array.of(1));
    for (let tick = 0; tick < 100; tick += 1) {
      for (let count = 0; count < MAX_MESSAGES_PER_SECOND / 10; count += 1) pipe.deliver(message);
      clock.advance(100);
    }
    expect(broken).toEqual([]);
    for (let count = 0; count <= MAX_MESSAGE_BURST; count += 1) pipe.deliver(message);
    expect({ broken, faults }).toEqual({ broken: ['bad-frame'], faults: ['flood'] });
  });

  it('drops a message that comes twice', () => {
    const { pipe, frames, broken, channel } = open();
    const messages = [...splitFrame(new Uint8Array(200_000))];
    messages.forEach(numberMessage);
    for (const message of messages) {
      pipe.deliverRaw(message.slice());
      pipe.deliverRaw(message.slice());
    }
    for (const message of messages) pipe.deliverRaw(message.slice());
    expect({ broken, frames: frames.length }).toEqual({ broken: [], frames: 1 });
    expect(channel.repeatedMessages).toBe(2 * messages.length);
  });

  it.each([
    ['is missing', ([a, , c, d]: Uint8Array[]) => [a, c, d]],
    ['comes late', ([a, b, c, d]: Uint8Array[]) => [a, c, b, d]],
    ['at the beginning is missing', ([, b, c, d]: Uint8Array[]) => [b, c, d]],
  ])('closes when a message %s', (_what, change) => {
    const { pipe, frames, broken, faults } = open();
    const messages = [1, 2, 3, 4].flatMap((value) => [...splitFrame(Uint8Array.of(value))]);
    messages.forEach(numberMessage);
    for (const message of change(messages)) if (message) pipe.deliverRaw(message);
    expect({ broken, faults }).toEqual({ broken: ['bad-frame'], faults: ['broken'] });
    expect(frames.length).toBeLessThan(2);
  });

  it('goes on counting messages from 0 after 65,535', () => {
    const { pipe, clock, frames, broken } = open();
    const [message = new Uint8Array()] = splitFrame(Uint8Array.of(1));
    for (let count = 0; count < 70_000; count += 1) {
      pipe.deliver(message);
      if (count % 4000 === 0) clock.advance(1000);
    }
    expect({ broken, frames: frames.length }).toEqual({ broken: [], frames: 70_000 });
  });

  it('measures the time of each frame, and of each by itself', () => {
    const { pipe, clock, broken, frames } = open();
    for (let round = 0; round < 5; round += 1) {
      for (const message of splitFrame(new Uint8Array(100_000))) {
        pipe.deliver(message);
        clock.advance(FRAME_ASSEMBLY_TIMEOUT_MS / 2);
      }
    }
    // The timer is the heartbeat's.
    expect({ broken, frames: frames.length, timers: clock.pendingTimers }).toEqual({
      broken: [],
      frames: 5,
      timers: 1,
    });
    const [first = new Uint8Array()] = splitFrame(new Uint8Array(100_000));
    pipe.deliver(first);
    clock.advance(FRAME_ASSEMBLY_TIMEOUT_MS);
    expect(broken).toEqual(['bad-frame']);
  });
});

describe('measuring over a frame channel', () => {
  const answer = ({ pipe, clock }: ReturnType<typeof open>, afterMs: number) => {
    clock.advance(afterMs);
    const nonce = pipe.echoes.at(-1)?.nonce ?? 0;
    pipe.hear({ kind: 'pong', nonce });
  };

  it('pings ahead of a frame, answers between the parts of one, and knows the round trip', async () => {
    const rig = open({ isAlive: false });
    const { pipe, channel, frames } = rig;
    await channel.send(Uint8Array.of(5));
    expect(pipe.echoes.map(({ kind }) => kind)).toEqual(['ping']);
    const [first = new Uint8Array(), second = new Uint8Array()] = [
      ...splitFrame(new Uint8Array(MAX_MESSAGE_BYTES)),
    ];
    pipe.deliver(first);
    pipe.hear({ kind: 'ping', nonce: 77 });
    answer(rig, 25);
    pipe.deliver(second);
    expect(pipe.echoes.at(-1)).toEqual({ kind: 'pong', nonce: 77 });
    expect(frames).toHaveLength(1);
  });

  it('ends a probe with the pong, and when the channel ends', async () => {
    const rig = open({ isAlive: false });
    const probe = outcomeOf(rig.channel.probe());
    await settled();
    answer(rig, 25);
    await settled();
    expect(probe.state).toBe('sent');
    expect(rig.channel.measurement).toEqual({ rttSeconds: 0.025, bytesPerSecond: null });
    rig.pipe.drainTo(0);
    const unanswered = outcomeOf(rig.channel.probe());
    await settled();
    expect(unanswered.state).toBe('waiting');
    rig.channel.finish(new SkeinError('peer-lost', 'gone'));
    await settled();
    expect(unanswered.state).toBe('sent');
  });

  it('ends when a suspected peer says nothing, and not before', () => {
    const { pipe, channel, clock, broken } = open({ isAlive: false });
    pipe.bufferedAmount = 5 * MIB;
    channel.suspect(new SkeinError('peer-lost', 'gone'));
    channel.suspect(new SkeinError('peer-lost', 'gone'));
    expect(pipe.echoes.map(({ kind }) => kind)).toEqual(['ping']);
    clock.advance(SUSPICION_MS - 1);
    expect(broken).toEqual([]);
    clock.advance(1);
    expect(broken).toEqual(['peer-lost']);
  });

  it('goes on with a suspected peer that says anything, and can suspect it again', () => {
    const { pipe, channel, clock, broken } = open({ isAlive: false });
    channel.suspect(new SkeinError('peer-lost', 'gone'));
    clock.advance(SUSPICION_MS - 1);
    pipe.hear({ kind: 'pong', nonce: pipe.echoes.at(-1)?.nonce ?? 0 });
    clock.advance(SUSPICION_MS);
    expect(broken).toEqual([]);
    expect(channel.measurement).toBeNull();
    channel.suspect(new SkeinError('peer-lost', 'gone'));
    channel.finish(new SkeinError('aborted', 'disposed'));
    expect(clock.pendingTimers).toBe(0);
    expect(broken).toEqual([]);
  });

  it('breaks with a peer whose pings are malformed', () => {
    const { pipe, broken } = open({ isAlive: false });
    pipe.deliver(Uint8Array.of(2, 3, 0, 0, 1));
    expect(broken).toEqual(['bad-frame']);
  });
});

describe('the life of a frame channel', () => {
  it.each<[string, ControlMessage]>([
    ['a hello', { kind: 'hello' }],
    ['anything else', { kind: 'ping', nonce: 5 }],
  ])('says hello until it hears %s, and nothing else', async (_what, first) => {
    const { pipe, channel, clock } = open({ isAlive: false, greets: false });
    const outcome = outcomeOf(channel.send(Uint8Array.of(7)));
    void channel.probe();
    await settled();
    clock.advance(3 * GREETING_INTERVAL_MS);
    channel.suspect(new SkeinError('peer-lost', 'gone'));
    expect({ hellos: pipe.hellos, numbers: pipe.numbers, state: outcome.state }).toEqual({
      hellos: 4,
      numbers: [],
      state: 'waiting',
    });
    if (first.kind === 'hello') pipe.deliverRaw(encodeControl(first));
    else pipe.hear(first);
    await settled();
    expect({ hellos: pipe.hellos, sent: pipe.sent.length, state: outcome.state }).toEqual({
      hellos: 5,
      sent: 1,
      state: 'sent',
    });
    expect(pipe.numbers).toEqual(pipe.numbers.map((_, index) => index));
    pipe.deliverRaw(encodeControl({ kind: 'hello' }));
    clock.advance(10 * GREETING_INTERVAL_MS);
    expect(pipe.hellos).toBe(5);
  });

  it('does not greet for ever, and fails what waited', async () => {
    const { pipe, channel, clock, broken } = open({ isAlive: false, greets: false });
    const outcomes = [channel.send(Uint8Array.of(7)), channel.probe()].map(outcomeOf);
    clock.advance(LINK_SILENCE_MS);
    await settled();
    expect({ broken, states: outcomes.map(({ state }) => state), timers: clock.pendingTimers }).toEqual({
      broken: ['peer-lost'],
      states: ['peer-lost', 'sent'],
      timers: 0,
    });
    expect(pipe.numbers).toEqual([]);
  });

  it('pings a silent peer, and ends when it stays silent', () => {
    const { pipe, clock, broken, faults } = open({ isAlive: false });
    clock.advance(LINK_PING_AFTER_MS - 1);
    expect(pipe.echoes).toEqual([]);
    clock.advance(1);
    expect(pipe.echoes.map(({ kind }) => kind)).toEqual(['ping']);
    clock.advance(LINK_SILENCE_MS - LINK_PING_AFTER_MS - 1);
    expect(broken).toEqual([]);
    clock.advance(1);
    expect({ broken, faults, timers: clock.pendingTimers }).toEqual({
      broken: ['peer-lost'],
      faults: ['gone'],
      timers: 0,
    });
    expect(pipe.notices).toEqual([{ kind: 'bye' }]);
  });

  it('goes on for hours with a peer that answers and has nothing else to say', () => {
    const { pipe, clock, broken } = open();
    clock.advance(3_600_000);
    expect(broken).toEqual([]);
    expect(pipe.echoes.length).toBeLessThanOrEqual(3_600);
  });

  it('ends at once when the other end says goodbye, and says it itself', () => {
    const { pipe, broken, faults, clock } = open();
    pipe.hear({ kind: 'bye' });
    expect({ broken, faults, isClosed: pipe.isClosed, timers: clock.pendingTimers }).toEqual({
      broken: ['peer-lost'],
      faults: ['gone'],
      isClosed: true,
      timers: 0,
    });
  });
});
