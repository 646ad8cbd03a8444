import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeEcho, encodeEcho, FrameAssembly, splitFrame } from '../../../src/mesh/framing.ts';
import { SkeinError } from '../../../src/protocol/errors.ts';
import { MAX_FRAME_BYTES, MAX_MESSAGE_BYTES } from '../../../src/protocol/limits.ts';

function frameOf(sizeBytes: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: sizeBytes }, (_, index) => (index * 31) >> (index & 3));
}

function assemble(messages: Iterable<Uint8Array>): (Uint8Array | null)[] {
  const assembly = new FrameAssembly();
  return Array.from(messages, (message) => assembly.push(message));
}

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (thrown) {
    return thrown instanceof SkeinError ? thrown.code : String(thrown);
  }
  return 'no error';
}

const FIRST_BODY = MAX_MESSAGE_BYTES - 8;
const NEXT_BODY = MAX_MESSAGE_BYTES - 4;

describe('framing', () => {
  it.each([
    [1, 1],
    [FIRST_BODY, 1],
    [FIRST_BODY + 1, 2],
    [FIRST_BODY + NEXT_BODY, 2],
    [FIRST_BODY + NEXT_BODY + 1, 3],
  ])('carries %i bytes in %i messages of at most 64 KiB', (sizeBytes, messageCount) => {
    const frame = frameOf(sizeBytes);
    const messages = [...splitFrame(frame)];
    expect(messages).toHaveLength(messageCount);
    expect(Math.max(...messages.map(({ length }) => length))).toBeLessThanOrEqual(64 * 1024);
    const results = assemble(messages);
    expect(results.slice(0, -1)).toEqual(new Array(messageCount - 1).fill(null));
    expect(Buffer.compare(results.at(-1) ?? new Uint8Array(), frame)).toBe(0);
  });

  it('keeps frames apart, whatever their sizes', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 200_000 }), { minLength: 1, maxLength: 5 }), (sizes) => {
        const frames = sizes.map(frameOf);
        const results = assemble(frames.flatMap((frame) => [...splitFrame(frame)]));
        const whole = results.filter((result) => result !== null);
        expect(whole.map(({ length }) => length)).toEqual(sizes);
        expect(whole.every((result, index) => Buffer.compare(result, frames[index] ?? result) === 0)).toBe(
          true,
        );
      }),
      { numRuns: 30 },
    );
  });

  it('has the documented bytes', () => {
    expect([...splitFrame(Uint8Array.of(7, 9))].map((message) => [...message])).toEqual([
      [1, 1, 0, 0, 2, 0, 0, 0, 7, 9],
    ]);
    const [, second] = splitFrame(frameOf(FIRST_BODY + 2));
    expect([...(second ?? [])].slice(0, 4)).toEqual([1, 2, 0, 0]);
  });

  it('does not send frames that nobody would take', () => {
    expect(codeOf(() => [...splitFrame(new Uint8Array(0))])).toBe('bad-argument');
    expect(codeOf(() => [...splitFrame(new Uint8Array(MAX_FRAME_BYTES + 1))])).toBe('bad-argument');
  });

  const long = [...splitFrame(frameOf(3 * MAX_MESSAGE_BYTES))];
  const [first = new Uint8Array(), second = new Uint8Array()] = long;
  const announcing = (sizeBytes: number) => {
    const message = first.slice();
    new DataView(message.buffer).setUint32(4, sizeBytes, true);
    return message;
  };
  const hostile: Record<string, Uint8Array[]> = {
    'an empty message': [new Uint8Array(0)],
    'a head without a body': [first.slice(0, 8)],
    'a message over 64 KiB': [new Uint8Array(MAX_MESSAGE_BYTES + 1).fill(1)],
    'another version': [Uint8Array.of(2, ...first.subarray(1))],
    'a continuation of nothing': [second],
    'a new frame inside another': [first, first],
    'a frame of no bytes': [announcing(0)],
    'a frame over the cap': [announcing(MAX_FRAME_BYTES + 1)],
    'a frame of four GiB': [announcing(0xffff_ffff)],
    'more than announced': [announcing(10)],
    'a first message that is not full': [first.slice(0, 100)],
    'a later message that is not full': [first, second.slice(0, 5)],
    'a reserved field in use': [Uint8Array.of(1, 1, 1, 0, ...first.subarray(4))],
  };
  it.each(Object.entries(hostile))('refuses %s', (_name, messages) => {
    const last = messages.at(-1) ?? new Uint8Array();
    const assembly = new FrameAssembly();
    for (const message of messages.slice(0, -1)) assembly.push(message);
    expect(codeOf(() => assembly.push(last))).toBe('bad-frame');
  });
});

describe('pings and pongs', () => {
  it('have the documented bytes, and come back as they went', () => {
    expect([...encodeEcho({ kind: 'ping', nonce: 0xfedc_ba98 })]).toEqual([
      1, 3, 0, 0, 0x98, 0xba, 0xdc, 0xfe,
    ]);
    expect([...encodeEcho({ kind: 'pong', nonce: 1 })]).toEqual([1, 4, 0, 0, 1, 0, 0, 0]);
    for (const kind of ['ping', 'pong'] as const) {
      expect(decodeEcho(encodeEcho({ kind, nonce: 0xffff_ffff }))).toEqual({ kind, nonce: 0xffff_ffff });
    }
  });

  it('are not taken for parts of frames, nor those for them', () => {
    for (const message of splitFrame(frameOf(3 * MAX_MESSAGE_BYTES))) expect(decodeEcho(message)).toBeNull();
    expect(decodeEcho(new Uint8Array(0))).toBeNull();
    expect(codeOf(() => new FrameAssembly().push(encodeEcho({ kind: 'ping', nonce: 1 })))).toBe('bad-frame');
  });

  it.each([
    ['a longer one', [1, 3, 0, 0, 1, 2, 3, 4, 5]],
    ['a shorter one', [1, 4, 0, 0, 1, 2, 3]],
    ['another version', [2, 3, 0, 0, 1, 2, 3, 4]],
    ['reserved bytes', [1, 4, 0, 9, 1, 2, 3, 4]],
  ])('refuses %s', (_what, bytes) => {
    expect(codeOf(() => decodeEcho(Uint8Array.from(bytes)))).toBe('bad-frame');
  });
});
