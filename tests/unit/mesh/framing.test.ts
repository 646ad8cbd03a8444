import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  checkNumber,
  decodeControl,
  encodeControl,
  FrameAssembly,
  numberMessage,
  splitFrame,
} from '../../../src/mesh/framing.ts';
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

const FIRST_BODY = MAX_MESSAGE_BYTES - 12;
/** CRC-32 of the bytes 7 and 9, by Python's zlib, little-endian. */
const CRC_OF_7_9 = [0x9c, 0x3c, 0x44, 0x77];
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
      [2, 1, 0, 0, 2, 0, 0, 0, ...CRC_OF_7_9, 7, 9],
    ]);
    const [, second] = splitFrame(frameOf(FIRST_BODY + 2));
    expect([...(second ?? [])].slice(0, 4)).toEqual([2, 2, 0, 0]);
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
    'a head without a body': [first.slice(0, 12)],
    'a message over 64 KiB': [new Uint8Array(MAX_MESSAGE_BYTES + 1).fill(1)],
    'another version': [Uint8Array.of(1, ...first.subarray(1))],
    'a continuation of nothing': [second],
    'a new frame inside another': [first, first],
    'a frame of no bytes': [announcing(0)],
    'a frame over the cap': [announcing(MAX_FRAME_BYTES + 1)],
    'a frame of four GiB': [announcing(0xffff_ffff)],
    'more than announced': [announcing(10)],
    'a first message that is not full': [first.slice(0, 100)],
    'a later message that is not full': [first, second.slice(0, 5)],
  };
  it.each(Object.entries(hostile))('refuses %s', (_name, messages) => {
    const last = messages.at(-1) ?? new Uint8Array();
    const assembly = new FrameAssembly();
    for (const message of messages.slice(0, -1)) assembly.push(message);
    expect(codeOf(() => assembly.push(last))).toBe('bad-frame');
  });
});

describe('a frame that was damaged on the way', () => {
  it('is refused, whichever bit is another', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 150_000 }), fc.nat(), fc.nat(7), (sizeBytes, place, bit) => {
        const messages = [...splitFrame(frameOf(sizeBytes))].map((message) => message.slice());
        const damaged = messages[place % messages.length] ?? new Uint8Array(1);
        const offset = place % damaged.length;
        // The number of a message is no business of the assembly.
        fc.pre(offset !== 2 && offset !== 3);
        damaged[offset] = (damaged[offset] ?? 0) ^ (1 << bit);
        expect(
          codeOf(() => {
            const results = assemble(messages);
            if (results.at(-1) === null) throw new SkeinError('bad-frame', 'It is still waited for.');
          }),
        ).toBe('bad-frame');
      }),
      { numRuns: 80 },
    );
  });

  it.each([
    ['exchanged', ([a, b, c, d]: Uint8Array[]) => [a, c, b, d]],
    ['doubled', ([a, b, , d]: Uint8Array[]) => [a, b, b, d]],
  ])('is refused when full parts of it were %s', (_what, change) => {
    const messages = [...splitFrame(frameOf(3 * MAX_MESSAGE_BYTES))];
    expect(messages).toHaveLength(4);
    expect(codeOf(() => assemble(change(messages).flatMap((message) => message ?? [])))).toBe('bad-frame');
  });
});

describe('numbers of messages', () => {
  const numbered = (count: number) => {
    const message = encodeControl({ kind: 'bye' });
    numberMessage(message, count);
    return message;
  };

  it('tell what is new, what was there before, and what is missing', () => {
    expect([...numbered(0x1_0203)].slice(2)).toEqual([0x03, 0x02]);
    fc.assert(
      fc.property(fc.nat(1_000_000), fc.integer({ min: 1, max: 32_767 }), (count, away) => {
        expect(checkNumber(numbered(count), count)).toBe(true);
        expect(checkNumber(numbered(Math.max(0, count - away)), count)).toBe(count < 1);
        expect(codeOf(() => checkNumber(numbered(count + away), count))).toBe('bad-frame');
      }),
    );
  });

  it('are missing in a message that is too short', () => {
    expect(codeOf(() => checkNumber(new Uint8Array(3), 0))).toBe('bad-frame');
  });
});

describe('messages that are no part of a frame', () => {
  it('come back as they went', () => {
    expect(decodeControl(encodeControl({ kind: 'handled', total: 0xffff_fffe }))).toEqual({
      kind: 'handled',
      total: 0xffff_fffe,
    });
    expect(decodeControl(encodeControl({ kind: 'bye' }))).toEqual({ kind: 'bye' });
    expect([...encodeControl({ kind: 'handled', total: 258 })]).toEqual([2, 5, 0, 0, 2, 1, 0, 0]);
    expect([...encodeControl({ kind: 'bye' })]).toEqual([2, 6, 0, 0]);
  });
});

describe('pings and pongs', () => {
  it('have the documented bytes, and come back as they went', () => {
    expect([...encodeControl({ kind: 'ping', nonce: 0xfedc_ba98 })]).toEqual([
      2, 3, 0, 0, 0x98, 0xba, 0xdc, 0xfe,
    ]);
    expect([...encodeControl({ kind: 'pong', nonce: 1 })]).toEqual([2, 4, 0, 0, 1, 0, 0, 0]);
    for (const kind of ['ping', 'pong'] as const) {
      expect(decodeControl(encodeControl({ kind, nonce: 0xffff_ffff }))).toEqual({
        kind,
        nonce: 0xffff_ffff,
      });
    }
  });

  it('are not taken for parts of frames, nor those for them', () => {
    for (const message of splitFrame(frameOf(3 * MAX_MESSAGE_BYTES)))
      expect(decodeControl(message)).toBeNull();
    expect(decodeControl(new Uint8Array(0))).toBeNull();
    expect(codeOf(() => new FrameAssembly().push(encodeControl({ kind: 'ping', nonce: 1 })))).toBe(
      'bad-frame',
    );
  });

  it.each([
    ['a longer one', [2, 3, 0, 0, 1, 2, 3, 4, 5]],
    ['a shorter one', [2, 4, 0, 0, 1, 2, 3]],
    ['another version', [1, 3, 0, 0, 1, 2, 3, 4]],
    ['a bye with more to say', [2, 6, 0, 0, 1]],
  ])('refuses %s', (_what, bytes) => {
    expect(codeOf(() => decodeControl(Uint8Array.from(bytes)))).toBe('bad-frame');
  });
});
