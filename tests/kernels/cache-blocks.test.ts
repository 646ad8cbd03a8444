import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { BLOCK_TOKENS } from '../../src/engine/batch.ts';
import { GpuSlice } from '../../src/engine/gpu-slice.ts';
import type { Checkpoint } from '../../src/model/checkpoint.ts';
import { FolderSource } from '../../src/model/folder-source.ts';
import { openCheckpoint } from '../../src/model/open-checkpoint.ts';
import { SkeinError } from '../../src/protocol/errors.ts';
import { TINY_LLAMA } from '../fixtures/architectures.ts';
import { writeRandomModel } from '../fixtures/random-model.ts';
import type { ModelFolder } from '../fixtures/random-model.ts';
import { openTestGpu } from './gpu.ts';
import type { TestGpu } from './gpu.ts';

const ARCHITECTURE = { ...TINY_LLAMA, headDim: 16, hiddenSize: 96 };
const WHOLE = { layerStart: 0, layerEnd: ARCHITECTURE.layerCount };
const IDS = Array.from({ length: 37 }, (_, index) => (index * 7 + 3) % 29);
const OTHER_IDS = IDS.map((id) => id + 40);

let gpu: TestGpu;
let model: ModelFolder;
let checkpoint: Checkpoint;
const slices: GpuSlice[] = [];
beforeAll(async () => {
  gpu = await openTestGpu();
  model = await writeRandomModel({ architecture: ARCHITECTURE, format: 'f32' });
  checkpoint = await openCheckpoint(new FolderSource(model.folder));
  return () => model.remove();
});
afterEach(() => {
  for (const slice of slices.splice(0)) slice.dispose();
});

async function load(cacheTokens: number, options: Partial<Parameters<typeof GpuSlice.load>[0]> = {}) {
  const slice = await GpuSlice.load({
    device: gpu.engine,
    checkpoint,
    slice: WHOLE,
    precision: 'f32',
    cacheTokens,
    ...options,
  });
  slices.push(slice);
  return slice;
}

/** Logits of the last of the ids, the first of which are in the cache. */
async function logitsOf(slice: GpuSlice, ids: readonly number[], cacheLength: number, blockTable: number[]) {
  const rowCount = ids.length - cacheLength;
  const { sequences } = await slice.forward({
    sequences: [{ rowCount, cacheLength, blockTable, head: { kind: 'logits' } }],
    input: { kind: 'tokens', tokenIds: Uint32Array.from(ids.slice(cacheLength)) },
  });
  const [result] = sequences;
  if (result?.kind !== 'logits') throw new Error('there are no logits');
  return result.values.slice(-ARCHITECTURE.vocabSize);
}

describe('copied cache blocks', () => {
  it.each(['f32', 'f16'] as const)(
    'hold the same bits in every layer at %s, whatever becomes of the originals',
    async (precision) => {
      const slice = await load(256, { precision });
      await logitsOf(slice, IDS.slice(0, -1), 0, [3, 7, 1]);
      const expected = await logitsOf(slice, IDS, IDS.length - 1, [3, 7, 1]);
      // One block has two copies; the last one is not full.
      slice.copyBlocks([
        { from: 3, to: 5 },
        { from: 7, to: 0 },
        { from: 7, to: 8 },
        { from: 1, to: 2 },
      ]);
      await logitsOf(slice, OTHER_IDS, 0, [3, 7, 1]);
      for (const blockTable of [
        [5, 0, 2],
        [5, 8, 2],
      ]) {
        expect(await logitsOf(slice, IDS, IDS.length - 1, blockTable)).toEqual(expected);
      }
      expect(await logitsOf(slice, IDS, IDS.length - 1, [3, 0, 2])).not.toEqual(expected);
      expect(await logitsOf(slice, IDS, IDS.length - 1, [5, 7, 2])).not.toEqual(expected);
    },
  );

  it('are refused outside the cache, and where one copy would undo another', async () => {
    const slice = await load(256);
    const blocks = 256 / BLOCK_TOKENS;
    const badArgument = expect.objectContaining({ code: 'bad-argument' }) as unknown;
    for (const copies of [
      [{ from: 0, to: blocks }],
      [{ from: -1, to: 0 }],
      [{ from: 0.5, to: 1 }],
      [
        { from: 0, to: 2 },
        { from: 1, to: 2 },
      ],
      [
        { from: 0, to: 1 },
        { from: 1, to: 2 },
      ],
    ]) {
      expect(() => slice.copyBlocks(copies)).toThrow(badArgument);
    }
    slice.copyBlocks([]);
  });
});

describe('a cache that the device has no room for', () => {
  it('is halved until it fits', async () => {
    const { kvHeadCount, headDim } = ARCHITECTURE;
    const { maxStorageBufferBindingSize } = gpu.device.limits;
    const tokensThatFit = Math.floor(maxStorageBufferBindingSize / (kvHeadCount * headDim * 4));
    const cacheTokens = tokensThatFit + 64 * BLOCK_TOKENS;
    const slice = await load(cacheTokens, { slice: { layerStart: 1, layerEnd: 2 } });
    expect(slice.blockCount).toBe(Math.ceil(cacheTokens / 2 / BLOCK_TOKENS));
  });

  it('is given up below 256 tokens, with the reason', async () => {
    let reads = 0;
    const full: Checkpoint = {
      architecture: checkpoint.architecture,
      quantization: null,
      has: (name) => checkpoint.has(name),
      sizeBytes: (name, signal) => checkpoint.sizeBytes(name, signal),
      read: () => {
        reads += 1;
        return Promise.reject(new SkeinError('out-of-memory', 'no room'));
      },
    };
    const slice = { layerStart: 1, layerEnd: 2 };
    await expect(load(2048, { checkpoint: full, slice })).rejects.toThrow(/no room/);
    const attempts = reads;
    reads = 0;
    await expect(load(256, { checkpoint: full, slice })).rejects.toThrow(/no room/);
    // 2048, 1024, 512, 256: as many reads for each attempt.
    expect(attempts).toBe(4 * reads);
  });
});
