import { describe, expect, it } from 'vitest';
import { CACHE_RESERVE_TOKENS, MAX_STAGE_CACHE_TOKENS } from '../../../src/protocol/limits.ts';
import { cacheTokensThatFit, stageCacheTokens } from '../../../src/protocol/slice-bytes.ts';
import { card } from '../signaling/scheduler/instances.ts';

const model = card({
  layerCount: 8,
  bytesPerLayer: 1000,
  cacheBytesPerTokenPerLayer: 10,
  embeddingBytes: 300,
  headBytes: 500,
});
const MIDDLE = { layerStart: 2, layerEnd: 4 };

describe('cacheTokensThatFit', () => {
  it('is what the weights leave, over all layers of the slice', () => {
    expect(cacheTokensThatFit(model, 2 * 1000 + 20 * 77 + 19, MIDDLE)).toBe(77);
    expect(cacheTokensThatFit(model, 300 + 2000 + 20 * 77, { layerStart: 0, layerEnd: 2 })).toBe(77);
  });

  it('leaves room for the logits beside the head', () => {
    const withLogits = { ...model, headMultiplyAdds: 64 * 1000, hiddenSize: 64 };
    const slice = { layerStart: 6, layerEnd: 8 };
    const logitBytes = 128 * 1000 * 4;
    expect(cacheTokensThatFit(withLogits, 500 + logitBytes + 2000 + 20 * 77, slice)).toBe(77);
  });

  it('is 0 where not even the weights fit', () => {
    expect(cacheTokensThatFit(model, 1999, MIDDLE)).toBe(0);
  });
});

describe('stageCacheTokens', () => {
  it('is whole blocks of what fits, from the reserve up to the cap', () => {
    expect(stageCacheTokens(model, 2000 + 20 * 5000, MIDDLE)).toBe(4992);
    expect(stageCacheTokens(model, 2000, MIDDLE)).toBe(CACHE_RESERVE_TOKENS);
    expect(stageCacheTokens(model, 1e12, MIDDLE)).toBe(MAX_STAGE_CACHE_TOKENS);
  });
});
