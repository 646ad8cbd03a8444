import { expect, it } from 'vitest';
import { LOADING_BYTES_PER_SECOND, LOADING_GRACE_MS } from '../../../signaling/limits.ts';
import { loadingLimitMs } from '../../../signaling/loading-limit.ts';
import { card } from './scheduler/instances.ts';

it('is a constant, and the time of the weights of the slice at a slow rate', () => {
  const large = card({
    layerCount: 8,
    bytesPerLayer: 3 * LOADING_BYTES_PER_SECOND,
    embeddingBytes: 20 * LOADING_BYTES_PER_SECOND,
    headBytes: 7 * LOADING_BYTES_PER_SECOND,
  });
  const seconds = (layerStart: number, layerEnd: number) =>
    (loadingLimitMs(large, { layerStart, layerEnd }) - LOADING_GRACE_MS) / 1000;
  expect(seconds(2, 7)).toBe(15);
  expect(seconds(0, 1)).toBe(23);
  expect(seconds(6, 8)).toBe(13);
  expect(seconds(0, 8)).toBe(51);
});
