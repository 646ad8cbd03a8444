import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readGgufHeader } from '../../../../src/model/gguf/gguf-header.ts';
import {
  MAX_GGUF_ENTRIES,
  MAX_GGUF_HEADER_BYTES,
  MAX_GGUF_STRING_BYTES,
} from '../../../../src/protocol/limits.ts';
import { SkeinError } from '../../../../src/protocol/errors.ts';
import { refusalOf } from '../../../fixtures/errors.ts';
import { ggufFile } from '../../../fixtures/gguf-file.ts';
import { MemorySource } from '../../../fixtures/memory-source.ts';

const PATH = 'x.gguf';
const FILE = ggufFile({
  metadata: {
    'general.alignment': { type: 'u32', value: 64 },
    'a.text': { type: 'string', value: 'words' },
    'a.size': { type: 'u64', value: 7 },
    'a.ratio': { type: 'f64', value: 0.5 },
    'a.words': { type: 'array', of: 'string', values: ['x', '', 'yy'] },
    'a.numbers': { type: 'array', of: 'i32', values: [1, -2, 3] },
    'a.flag': { type: 'bool', value: true },
    'a.flags': { type: 'array', of: 'bool', values: [true, false, true] },
    'a.many flags': { type: 'array', of: 'bool', values: Array.from({ length: 1025 }, () => true) },
    'a.last': { type: 'u32', value: 9 },
  },
  tensors: [
    { name: 'one', type: 0, shape: [3, 5], bytes: new Uint8Array(60) },
    { name: 'two', type: 2, shape: [2, 64], bytes: new Uint8Array(72) },
  ],
  alignment: 64,
});
const source = (bytes: Uint8Array<ArrayBuffer>) => new MemorySource({ [PATH]: bytes });
const header = (bytes: Uint8Array<ArrayBuffer>) => readGgufHeader(source(bytes), PATH);

/** The file with a number of 8 bytes somewhere else than it was. */
function poke(marker: string, after: number, value: bigint): Uint8Array<ArrayBuffer> {
  const bytes = FILE.slice();
  const at = new TextDecoder('latin1').decode(bytes).indexOf(marker) + marker.length + after;
  new DataView(bytes.buffer).setBigUint64(at, value, true);
  return bytes;
}

describe('a GGUF header', () => {
  it('gives numbers, texts and short lists of flags, and other lists by their length', async () => {
    const { metadata, tensors } = await header(FILE);
    expect(Object.fromEntries(metadata)).toEqual({
      'general.alignment': 64,
      'a.text': 'words',
      'a.size': 7,
      'a.ratio': 0.5,
      'a.words': { arrayLength: 3 },
      'a.numbers': { arrayLength: 3 },
      'a.flag': true,
      'a.flags': [true, false, true],
      'a.many flags': { arrayLength: 1025 },
      'a.last': 9,
    });
    const one = tensors.get('one');
    const two = tensors.get('two');
    expect([one?.shape, two?.shape]).toEqual([
      [3, 5],
      [2, 64],
    ]);
    expect([(one?.end ?? 0) - (one?.start ?? 0), (two?.start ?? 0) - (one?.start ?? 0), two?.end]).toEqual([
      60,
      64,
      FILE.length,
    ]);
  });

  it('takes a few reads, however large its vocabulary, and never the data', async () => {
    const words = Array.from({ length: 100_000 }, (_, index) => `token number ${index}`);
    const file = ggufFile({
      metadata: { 'a.words': { type: 'array', of: 'string', values: words } },
      tensors: [{ name: 'one', type: 0, shape: [1 << 20], bytes: new Uint8Array(1 << 22) }],
    });
    const folder = source(file);
    await readGgufHeader(folder, PATH);
    expect(folder.reads.length).toBeLessThan(10);
    const headerBytes = file.length - (1 << 22);
    expect(folder.reads.reduce((sum, { start, end }) => sum + end - start, 0)).toBeLessThan(
      2.2 * headerBytes,
    );
  });

  it.each([
    ['tensor count', 'GGUF', 4],
    ['metadata count', 'GGUF', 12],
    ['text length', 'a.text', 4],
    ['list length', 'a.words', 8],
    ['number list length', 'a.numbers', 8],
    ['text length in a list', 'a.words', 16],
    ['dimension', 'one', 4],
    ['offset', 'one', 24],
  ])('with an enormous %s is refused before anything of that size is read', async (_, marker, after) => {
    for (const value of [1n << 63n, (1n << 64n) - 1n, 1n << 53n, 1n << 40n]) {
      const folder = source(poke(marker, after, value));
      expect((await refusalOf(() => readGgufHeader(folder, PATH))).code).toBe('model-corrupt');
      expect(Math.max(...folder.reads.map(({ start, end }) => end - start))).toBeLessThanOrEqual(FILE.length);
    }
  });

  it.each([
    ['tensors', 'GGUF', 4, MAX_GGUF_ENTRIES],
    ['metadata', 'GGUF', 12, MAX_GGUF_ENTRIES],
    ['bytes in a text', 'a.text', 4, MAX_GGUF_STRING_BYTES],
  ])('with one more than the most %s there may be is refused for that', async (_, marker, after, most) => {
    const large = new Uint8Array(4 * 1024 * 1024);
    large.set(poke(marker, after, BigInt(most + 1)));
    const refusal = await refusalOf(() => header(large));
    expect(refusal.code).toBe('model-corrupt');
    expect(refusal.message).toContain(`${most + 1}`);
    expect(refusal.message).toContain(`${most} are the most`);
  });

  it('that goes on beyond every header is refused', async () => {
    const start = new Uint8Array(1 << 17);
    start.set(poke('a.numbers', 8, BigInt(MAX_GGUF_HEADER_BYTES)));
    const folder = source(start);
    folder.sizeBytes = () => Promise.resolve(2 ** 40);
    const refusal = await refusalOf(() => readGgufHeader(folder, PATH));
    expect(refusal.code).toBe('model-corrupt');
    expect(refusal.message).toContain(String(MAX_GGUF_HEADER_BYTES));
  });

  it.each([
    ['key', { 'a.text': { type: 'u32', value: 1 } }, ['one', 'one']],
    ['tensor that shares bytes', {}, ['one', 'two']],
  ] as const)('with a second %s is refused', async (_, metadata, names) => {
    const [first, second] = names;
    const file = ggufFile({
      metadata,
      tensors: [first, second].map((name) => ({ name, type: 0, shape: [8], bytes: new Uint8Array(32) })),
    });
    if (first !== second) {
      // The second one's offset becomes the first one's.
      const at = new TextDecoder('latin1').decode(file).indexOf('two') + 3 + 16;
      new DataView(file.buffer).setBigUint64(at, 0n, true);
    }
    expect((await refusalOf(() => header(file))).code).toBe('model-corrupt');
  });

  it('that is cut off or changed anywhere is read or refused, never anything else', async () => {
    const changes = fc.array(fc.tuple(fc.nat(FILE.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(changes, fc.nat(FILE.length), fc.boolean(), async (bytes, length, isCut) => {
        const file = FILE.slice(0, isCut ? length : FILE.length);
        for (const [at, value] of bytes) if (at < file.length) file[at] = value;
        const folder = source(file);
        try {
          const { tensors } = await readGgufHeader(folder, PATH);
          for (const { start, end } of tensors.values()) {
            if (start > end || end > Math.max(file.length, start))
              throw new Error('a tensor is outside the file');
          }
        } catch (thrown) {
          if (!(thrown instanceof SkeinError)) throw thrown;
        }
        return folder.reads.every(({ start, end }) => start <= end && end <= file.length);
      }),
      { numRuns: 3000 },
    );
  });
});
