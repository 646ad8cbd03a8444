import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SkeinError } from '../../../src/protocol/errors.ts';
import { parseSafetensorsHeader, readSafetensorsHeader } from '../../../src/model/safetensors.ts';
import { refusalOf } from '../../fixtures/errors.ts';
import { MemorySource } from '../../fixtures/memory-source.ts';
import { safetensorsBytes } from '../../fixtures/safetensors-file.ts';

const DATA_BYTES = 64;

const open = async (header: unknown, dataBytes = DATA_BYTES) => {
  const text = typeof header === 'string' ? header : JSON.stringify(header);
  const source = new MemorySource({ 'w.safetensors': safetensorsBytes(text, new Uint8Array(dataBytes)) });
  return readSafetensorsHeader(source, 'w.safetensors');
};
const tensor = (dtype: string, shape: unknown, data_offsets: unknown) => ({ dtype, shape, data_offsets });

describe('a safetensors header', () => {
  it('says where each tensor lies in the file', async () => {
    const header = {
      __metadata__: { format: 'pt' },
      a: tensor('F32', [2, 3], [0, 24]),
      b: tensor('BF16', [], [24, 26]),
    };
    const dataStart = 8 + JSON.stringify(header).length;
    expect(await open(header)).toEqual(
      new Map([
        ['a', { dtype: 'F32', shape: [2, 3], start: dataStart, end: dataStart + 24 }],
        ['b', { dtype: 'BF16', shape: [], start: dataStart + 24, end: dataStart + 26 }],
      ]),
    );
  });

  it('takes padding, empty tensors and dtypes nobody has asked for', async () => {
    const header = {
      q: tensor('F4_NEW', [9], [0, 5]),
      none: tensor('F16', [0, 7], [2, 2]),
      end: tensor('F32', [0], [64, 64]),
    };
    const entries = await open(`${JSON.stringify(header)}   `);
    expect([...(entries?.keys() ?? [])]).toEqual(['q', 'none', 'end']);
  });

  it('takes __proto__ for a name like any other', async () => {
    const entries = await open(
      '{"__proto__":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"constructor":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}',
    );
    expect([...(entries?.keys() ?? [])]).toEqual(['__proto__', 'constructor']);
    expect(entries?.has('toString')).toBe(false);
    expect(({} as Record<string, unknown>)['dtype']).toBeUndefined();
  });

  it('is null without the file', async () => {
    expect(await readSafetensorsHeader(new MemorySource({}), 'w.safetensors')).toBeNull();
  });

  it.each([
    ['2^63', 2n ** 63n],
    ['2^64 - 1', 2n ** 64n - 1n],
    ['one more than the limit', 64n * 1024n * 1024n + 1n],
    ['one more than the file', 3n + 64n],
  ])('refuses a length of %s without reading on', async (_, length) => {
    const source = new MemorySource({ 'w.safetensors': safetensorsBytes('{}', new Uint8Array(64), length) });
    const refusal = await refusalOf(() => readSafetensorsHeader(source, 'w.safetensors'));
    expect(refusal).toMatchObject({
      code: 'model-corrupt',
      data: { file: 'memory/w.safetensors', field: 'header' },
    });
    expect(refusal.message).toContain(String(length));
    expect(source.reads).toEqual([{ path: 'w.safetensors', start: 0, end: 8 }]);
  });

  it('refuses a length over the limit however large the file', async () => {
    const source = new MemorySource({
      'w.safetensors': safetensorsBytes('{}', new Uint8Array(64), 64n * 2n ** 20n + 1n),
    });
    source.sizeBytes = () => Promise.resolve(2 ** 45);
    expect(await refusalOf(() => readSafetensorsHeader(source, 'w.safetensors'))).toMatchObject({
      code: 'model-corrupt',
    });
    expect(source.reads).toHaveLength(1);
  });

  it.each([0, 1, 7])('refuses a file of %d bytes', async (size) => {
    const source = new MemorySource({ 'w.safetensors': new Uint8Array(size) });
    expect(await refusalOf(() => readSafetensorsHeader(source, 'w.safetensors'))).toMatchObject({
      code: 'model-corrupt',
      data: { file: 'memory/w.safetensors' },
    });
  });

  it.each(['', '{"a":', 'garbage', '[]', 'null', '7', '"x"'])('refuses %j as a header', async (text) => {
    const refusal = await refusalOf(() => open(text));
    expect(refusal.code).toBe('model-corrupt');
    expect(refusal.message).toContain('memory/w.safetensors');
  });

  it('refuses a header that is not UTF-8', async () => {
    const bytes = Uint8Array.of(0x7b, 0xff, 0x7d);
    expect(await refusalOf(() => parseSafetensorsHeader(bytes, 11, 11, 'file'))).toMatchObject({
      code: 'model-corrupt',
    });
  });

  it.each([
    ['no object', 5, 'object'],
    ['no dtype', { shape: [1], data_offsets: [0, 4] }, '"dtype"'],
    ['a dtype that is no text', { dtype: 32, shape: [1], data_offsets: [0, 4] }, '"dtype"'],
    ['no shape', { dtype: 'F32', data_offsets: [0, 4] }, '"shape"'],
    ['a shape of null, as NaN is written', tensor('F32', [null], [0, 4]), '"shape"'],
    ['a negative shape', tensor('F32', [-1, -1], [0, 4]), '"shape"'],
    ['half a row', tensor('F32', [1.5], [0, 6]), '"shape"'],
    ['a shape of text', tensor('F32', ['1'], [0, 4]), '"shape"'],
    ['too many dimensions', tensor('F32', new Array(65).fill(1), [0, 4]), '"shape"'],
    ['a shape whose product is 2^64', tensor('F32', [2 ** 31, 2 ** 33], [0, 0]), '"shape"'],
    ['a shape that rounds to the right size', tensor('F16', [2 ** 52, 2, 2 ** 10], [0, 64]), '"shape"'],
    ['too few bytes', tensor('F32', [2], [0, 4]), '"shape"'],
    ['too many bytes', tensor('BF16', [2], [0, 8]), '"shape"'],
    ['no offsets', { dtype: 'F32', shape: [1] }, '"data_offsets"'],
    ['one offset', tensor('F32', [1], [4]), '"data_offsets"'],
    ['three offsets', tensor('F32', [1], [0, 4, 8]), '"data_offsets"'],
    ['a negative offset', tensor('F32', [1], [-4, 0]), '"data_offsets"'],
    ['an offset of null', tensor('F32', [1], [null, 4]), '"data_offsets"'],
    ['offsets backwards', tensor('F32', [1], [8, 4]), '"data_offsets"'],
    ['offsets past the end', tensor('F32', [1], [DATA_BYTES - 3, DATA_BYTES + 1]), '"data_offsets"'],
    ['offsets of 2^53', tensor('U8', [1], [0, 2 ** 53]), '"data_offsets"'],
  ])('refuses a tensor with %s', async (_, entry, named) => {
    const refusal = await refusalOf(() => open({ 'layer.weight': entry }));
    expect(refusal).toMatchObject({
      code: 'model-corrupt',
      data: { file: 'memory/w.safetensors', tensor: 'layer.weight' },
    });
    expect(refusal.message).toContain(named);
  });

  it.each([
    ['the same bytes', [0, 8], [0, 8]],
    ['one byte', [0, 8], [7, 15]],
    ['a tensor inside another', [0, 16], [4, 8]],
  ])('refuses two tensors that share %s', async (_, first, second) => {
    const refusal = await refusalOf(() =>
      open({ one: tensor('U8', [], first), two: tensor('U8', [], second) }),
    );
    expect(refusal).toMatchObject({ code: 'model-corrupt', data: { tensor: 'two' } });
    expect(refusal.message).toContain('"one"');
  });

  it('refuses an overlap that an empty tensor stands in front of', async () => {
    const header = {
      long: tensor('U8', [], [0, 30]),
      empty: tensor('U8', [], [4, 4]),
      late: tensor('U8', [], [10, 20]),
    };
    expect(await refusalOf(() => open(header))).toMatchObject({
      code: 'model-corrupt',
      data: { tensor: 'late' },
    });
  });

  const anyEntry = fc.oneof(
    fc.record({
      dtype: fc.oneof(fc.constantFrom('F32', 'F16', 'BF16', 'U8'), fc.anything()),
      shape: fc.oneof(fc.array(fc.oneof(fc.nat(9), fc.maxSafeInteger(), fc.double())), fc.anything()),
      data_offsets: fc.oneof(
        fc.tuple(fc.oneof(fc.nat(DATA_BYTES), fc.double()), fc.oneof(fc.nat(99), fc.double())),
        fc.anything(),
      ),
    }),
    fc.anything(),
  );

  it('whatever it holds, gives entries inside the file or a typed refusal', () => {
    const isSafe = (header: Uint8Array): boolean => {
      const dataStart = 8 + header.length;
      try {
        const entries = parseSafetensorsHeader(header, dataStart, dataStart + DATA_BYTES, 'file');
        return [...entries.values()].every(
          ({ start, end }) => dataStart <= start && start <= end && end <= dataStart + DATA_BYTES,
        );
      } catch (thrown) {
        return thrown instanceof SkeinError && thrown.code === 'model-corrupt';
      }
    };
    fc.assert(
      fc.property(fc.dictionary(fc.string(), anyEntry), (header) =>
        isSafe(new TextEncoder().encode(JSON.stringify(header))),
      ),
      { numRuns: 500 },
    );
  });

  it('finds again whatever a writer laid out', async () => {
    const layout = fc.uniqueArray(
      fc.record({
        name: fc.string().filter((name) => name !== '__metadata__' && !/^\d+$/.test(name)),
        dtype: fc.constantFrom('F32' as const, 'F16' as const, 'BF16' as const),
        shape: fc.array(fc.nat(4), { maxLength: 3 }),
      }),
      { selector: ({ name }) => name, maxLength: 6 },
    );
    await fc.assert(
      fc.asyncProperty(layout, async (tensors) => {
        let offset = 0;
        const header = new Map<string, object>();
        for (const { name, dtype, shape } of tensors) {
          const start = offset;
          offset += shape.reduce((a, b) => a * b, dtype === 'F32' ? 4 : 2);
          header.set(name, tensor(dtype, shape, [start, offset]));
        }
        // Written by hand: an object would turn a tensor called __proto__ into its prototype.
        const text = `{${[...header].map(([name, entry]) => `${JSON.stringify(name)}:${JSON.stringify(entry)}`).join()}}`;
        const entries = [...((await open(text, offset)) ?? [])];
        expect(entries.map(([name, { dtype, shape }]) => ({ name, dtype, shape }))).toEqual(tensors);
        const dataStart = 8 + new TextEncoder().encode(text).length;
        expect(entries.at(-1)?.[1].end ?? dataStart).toBe(dataStart + offset);
      }),
    );
  });

  it('refuses any bytes that are not a file, with a typed error', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
        const source = new MemorySource({ 'w.safetensors': Uint8Array.from(bytes) });
        const refusal = await refusalOf(() => readSafetensorsHeader(source, 'w.safetensors'));
        expect(refusal.code).toBe('model-corrupt');
      }),
    );
  });
});
