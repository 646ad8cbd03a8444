import { describe, expect, it } from 'vitest';
import { FrameChannel } from '../../../src/mesh/frame-channel.ts';
import { encodeEcho, FrameAssembly, splitFrame } from '../../../src/mesh/framing.ts';
import { SkeinError } from '../../../src/protocol/errors.ts';
import {
  FRAME_ASSEMBLY_TIMEOUT_MS,
  MAX_MESSAGE_BYTES,
  SEND_HIGH_WATER_BYTES,
  SEND_LOW_WATER_BYTES,
  SEND_STALL_TIMEOUT_MS,
  SUSPICION_MS,
} from '../../../src/protocol/limits.ts';
import { FakePipe } from './fake-pipe.ts';
import { settled } from './local-mesh.ts';
import { ManualClock } from './manual-clock.ts';

const MIB = 1024 * 1024;

function open() {
  const pipe = new FakePipe();
  const clock = new ManualClock();
  const frames: Uint8Array[] = [];
  const broken: string[] = [];
  const channel = new FrameChannel({
    pipe,
    clock,
    onFrame: (frame) => frames.push(frame),
    onBroken: ({ code }) => broken.push(code),
  });
  return { pipe, clock, frames, broken, channel };
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

  it('closes on a frame that does not come to its end in time', () => {
    const { pipe, clock, broken } = open();
    const [first = new Uint8Array(), second = new Uint8Array()] = splitFrame(new Uint8Array(300_000));
    pipe.deliver(first);
    clock.advance(FRAME_ASSEMBLY_TIMEOUT_MS - 1);
    pipe.deliver(second);
    expect(broken).toEqual([]);
    clock.advance(1);
    expect(broken).toEqual(['bad-frame']);
  });

  it('measures the time of each frame, and of each by itself', () => {
    const { pipe, clock, broken, frames } = open();
    for (let round = 0; round < 5; round += 1) {
      for (const message of splitFrame(new Uint8Array(100_000))) {
        pipe.deliver(message);
        clock.advance(FRAME_ASSEMBLY_TIMEOUT_MS / 2);
      }
    }
    expect({ broken, frames: frames.length, timers: clock.pendingTimers }).toEqual({
      broken: [],
      frames: 5,
      timers: 0,
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
    pipe.deliver(encodeEcho({ kind: 'pong', nonce }));
  };

  it('pings ahead of a frame, answers between the parts of one, and knows the round trip', async () => {
    const rig = open();
    const { pipe, channel, frames } = rig;
    await channel.send(Uint8Array.of(5));
    expect(pipe.echoes.map(({ kind }) => kind)).toEqual(['ping']);
    const [first = new Uint8Array(), second = new Uint8Array()] = [
      ...splitFrame(new Uint8Array(MAX_MESSAGE_BYTES)),
    ];
    pipe.deliver(first);
    pipe.deliver(encodeEcho({ kind: 'ping', nonce: 77 }));
    answer(rig, 25);
    pipe.deliver(second);
    expect(pipe.echoes.at(-1)).toEqual({ kind: 'pong', nonce: 77 });
    expect(frames).toHaveLength(1);
  });

  it('ends a probe with the pong, and when the channel ends', async () => {
    const rig = open();
    const probe = outcomeOf(rig.channel.probe());
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
    const { pipe, channel, clock, broken } = open();
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
    const { pipe, channel, clock, broken } = open();
    channel.suspect(new SkeinError('peer-lost', 'gone'));
    clock.advance(SUSPICION_MS - 1);
    pipe.deliver(encodeEcho({ kind: 'pong', nonce: pipe.echoes.at(-1)?.nonce ?? 0 }));
    clock.advance(10 * SUSPICION_MS);
    expect(broken).toEqual([]);
    expect(channel.measurement).toBeNull();
    channel.suspect(new SkeinError('peer-lost', 'gone'));
    channel.finish(new SkeinError('aborted', 'disposed'));
    expect(clock.pendingTimers).toBe(0);
    expect(broken).toEqual([]);
  });

  it('breaks with a peer whose pings are malformed', () => {
    const { pipe, broken } = open();
    pipe.deliver(Uint8Array.of(1, 3, 0, 0, 1));
    expect(broken).toEqual(['bad-frame']);
  });
});
