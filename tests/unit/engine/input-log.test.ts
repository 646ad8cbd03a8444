import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InputLog, LOG_PIECE_BYTES } from '../../../src/engine/input-log.ts';
import { TraceRing } from '../../../src/engine/step-trace.ts';
import { halfToFloat } from '../../../src/protocol/half.ts';

describe('InputLog', () => {
  it('gives back any range of what was appended, whatever the pieces', () => {
    const pieces = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(pieces, fc.nat(40), fc.boolean(), fc.nat(), fc.nat(), (sizes, first, isExact, a, b) => {
        const log = new InputLog(first);
        const activations = new InputLog(first);
        const total = sizes.reduce((sum, size) => sum + size, 0);
        // A third is no half; an eighth is.
        const valueAt = (index: number) => Math.fround(isExact ? index / 8 : index / 3);
        let next = 0;
        for (const size of sizes) {
          const rows = Array.from({ length: size }, (_, offset) => next + offset);
          log.append({ kind: 'tokens', tokenIds: Uint32Array.from(rows) });
          const values = Float32Array.from(rows.flatMap((row) => [valueAt(row), -valueAt(row)]));
          activations.append({ kind: 'activations', rows: size, values });
          next += size;
        }
        expect(log.end).toBe(first + total);
        const from = a % total;
        const count = 1 + (b % (total - from));
        const wanted = Array.from({ length: count }, (_, offset) => from + offset);
        const tokens = new Uint32Array(count);
        log.readTokens(first + from, tokens);
        expect([...tokens]).toEqual(wanted);
        const values = new Float32Array(2 * count);
        activations.readActivations(first + from, count, values);
        expect([...values]).toEqual(wanted.flatMap((row) => [valueAt(row), -valueAt(row)]));
        const isHalves = isExact || total === 1;
        expect(activations.sizeBytes <= total * 4 + sizes.length * LOG_PIECE_BYTES).toBe(isHalves);
      }),
    );
  });

  it('keeps what halves hold as halves, and all else exactly', () => {
    const bytesOf = (values: readonly number[]) => {
      const log = new InputLog(0);
      log.append({ kind: 'activations', rows: 1, values: Float32Array.from(values) });
      const read = new Float32Array(values.length);
      log.readActivations(0, 1, read);
      expect([...read].map((value, index) => Object.is(value, Math.fround(values[index] ?? NaN)))).toEqual(
        values.map(() => true),
      );
      return log.sizeBytes - LOG_PIECE_BYTES;
    };
    expect(bytesOf([1, -0.5, 65_504, 2 ** -24, -0])).toBe(10);
    expect(bytesOf([1, 65_505])).toBe(8);
    expect(bytesOf([1e6, 1])).toBe(8);
    expect(bytesOf([1e-12, 0])).toBe(8);
    expect(bytesOf(Array.from({ length: 0x7c00 }, (_, half) => halfToFloat(half)))).toBe(2 * 0x7c00);
  });

  it('refuses rows that are not there, and the wrong kind', () => {
    const log = new InputLog(16);
    log.append({ kind: 'tokens', tokenIds: Uint32Array.of(1, 2) });
    const internal = expect.objectContaining({ code: 'internal' }) as unknown;
    expect(() => log.readTokens(15, new Uint32Array(1))).toThrow(internal);
    expect(() => log.readTokens(17, new Uint32Array(2))).toThrow(internal);
    expect(() => log.readActivations(16, 1, new Float32Array(2))).toThrow(internal);
  });
});

describe('TraceRing', () => {
  it('keeps the latest steps in order', () => {
    const ring = new TraceRing(3);
    const step = (startMs: number) => ({ startMs, endMs: startMs + 1, rows: 1, sequences: 1 });
    expect(ring.read()).toEqual([]);
    for (const startMs of [1, 2, 3, 4, 5]) {
      ring.push(step(startMs));
      const first = Math.max(1, startMs - 2);
      expect(ring.read().map((each) => each.startMs)).toEqual(
        Array.from({ length: Math.min(3, startMs) }, (_, index) => first + index),
      );
    }
  });
});
