import { describe, expect, it } from 'vitest';
import {
  decodeSeconds,
  fits,
  saturatedRate,
  sliceBytes,
  sliceRate,
  stepSeconds,
} from '../../../../signaling/scheduler/cost.ts';
import { card, LAYER_BYTES, node, slice } from './instances.ts';

const model = card({
  embeddingBytes: 300,
  headBytes: 500,
  headMultiplyAdds: 640,
  cacheBytesPerTokenPerLayer: 2,
});
const { capability } = node(0, { matvecBytesPerSecond: 1e5, matmulFlopsPerSecond: 1e6 });
const INSIDE = { embedding: false, head: false };

describe('stepSeconds', () => {
  it('reads weights once and a cache of a thousand tokens per decode row, and multiplies every row', () => {
    // 3 layers of 1000 bytes and 5 caches of 3 × 1000 × 2 bytes; 12 rows of 3 × 500 multiply-adds.
    const expected = 0.001 + (3000 + 5 * 6000) / 1e5 + (2 * 12 * 1500) / 1e6;
    expect(stepSeconds(model, capability, slice(2, 5), 5, 7)).toBeCloseTo(expected, 12);
  });

  it('adds the head to the last slice, and nothing for the embedding', () => {
    const inside = stepSeconds(model, capability, slice(3, 6), 4);
    expect(stepSeconds(model, capability, slice(0, 3), 4)).toBe(inside);
    expect(stepSeconds(model, capability, slice(5, 8), 4) - inside).toBeCloseTo(
      500 / 1e5 + (2 * 4 * 640) / 1e6,
      12,
    );
    expect(decodeSeconds(model, capability, 3, INSIDE)).toBe(stepSeconds(model, capability, slice(3, 6), 1));
  });
});

describe('saturatedRate', () => {
  /** Memory for two layers, and caches of all eight layers of this many requests. */
  const rateWithRequests = (requests: number) =>
    saturatedRate(model, { ...capability, memoryBytes: 2000 + requests * 8 * 2000 }, 2, INSIDE);

  it('has a batch of the requests whose caches in all layers fit beside the weights, with as many rows of prompt', () => {
    expect(rateWithRequests(10)).toBeCloseTo(10 / stepSeconds(model, capability, slice(2, 4), 10, 10), 12);
  });

  it('waits when there is room for less than one', () => {
    expect(rateWithRequests(0.5)).toBeCloseTo(0.5 / stepSeconds(model, capability, slice(2, 4), 1, 1), 12);
  });

  it('is nothing, and not less, where the weights do not fit', () => {
    for (const memoryBytes of [1, 1999, 2000]) {
      expect(saturatedRate(model, { ...capability, memoryBytes }, 2, INSIDE)).toBe(0);
    }
  });

  it('has no more cache than a stage allocates: 65,536 tokens of its own layers', () => {
    // Two of eight layers: 65.536 requests of 1000 tokens, a quarter of which are here at a time.
    const capped = 16.384 / stepSeconds(model, capability, slice(2, 4), 16.384, 16.384);
    expect(rateWithRequests(16)).toBeLessThan(capped);
    expect(rateWithRequests(1000)).toBeCloseTo(capped, 12);
  });

  it('batches no more than 64', () => {
    const whole = { embedding: true, head: true };
    const roomy = saturatedRate(model, { ...capability, memoryBytes: 1e12 }, 8, whole);
    expect(roomy).toBeCloseTo(64 / stepSeconds(model, capability, slice(0, 8), 64, 64), 12);
  });

  it('is nothing where the slice does not fit', () => {
    const small = { ...capability, memoryBytes: 3 * LAYER_BYTES };
    const plain = card();
    expect(sliceRate(plain, small, slice(0, 4))).toBe(0);
    expect(sliceRate(plain, small, slice(0, 3))).toBeGreaterThan(0);
  });
});

it('counts the reserve of cache, the ends and the logits of 128 rows', () => {
  const plain = card({ embeddingBytes: 300, headBytes: 500, headMultiplyAdds: 640 });
  expect(sliceBytes(plain, slice(2, 4))).toBe(2 * LAYER_BYTES);
  expect(sliceBytes(plain, slice(0, 2))).toBe(2 * LAYER_BYTES + 300);
  const lastBytes = 2 * LAYER_BYTES + 500 + 10 * 128 * 4;
  expect(sliceBytes(plain, slice(6, 8))).toBe(lastBytes);
  expect(fits(plain, lastBytes, slice(6, 8))).toBe(true);
  expect(fits(plain, lastBytes - 1, slice(6, 8))).toBe(false);
});
