import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { GpuBackend } from '../../src/contributor/gpu-backend.ts';
import { createNodeGpu } from '../../src/engine/node-gpu.ts';
import { LocalHub } from '../../src/mesh/local-hub.ts';
import { WeightCache } from '../../src/model/weight-cache.ts';
import type { CachedSlice } from '../../src/model/weight-cache.ts';
import { newPeerId } from '../../src/protocol/ids.ts';
import { TINY_LLAMA } from '../fixtures/architectures.ts';
import { MemoryByteStore } from '../fixtures/memory-byte-store.ts';
import { ModelServer } from '../fixtures/model-server.ts';
import { writeRandomModel } from '../fixtures/random-model.ts';

let gpu: GPU;
let server: ModelServer;

beforeAll(async () => {
  gpu = await createNodeGpu();
  const model = await writeRandomModel({ architecture: TINY_LLAMA, format: 'f32' });
  const names = ['config.json', 'model.safetensors'];
  const files = await Promise.all(
    names.map(async (name) => [`m/${name}`, await readFile(join(model.folder, name))] as const),
  );
  server = await ModelServer.start(new Map(files), { version: '"one"' });
  await model.remove();
});

afterAll(() => server.stop());

it('loads a slice again without a download, and says that it can', async () => {
  const weights = new WeightCache(new MemoryByteStore());
  let cached: readonly CachedSlice[] = [];
  const modelUrl = `${server.url}/m/`;
  /** As a peer that was started anew does. @returns the ranges that were asked for. */
  const load = async () => {
    const backend = new GpuBackend(gpu, () => undefined, {
      weights,
      onCached: (slices) => (cached = slices),
    });
    server.requests.length = 0;
    const stage = await backend.startStage(
      {
        modelUrl,
        quantization: 'none',
        cache: 'f32',
        activations: 'f32',
        model: 'tiny',
        layerStart: 0,
        layerEnd: 1,
        self: newPeerId(),
        cacheTokens: 64,
      },
      {
        transport: new LocalHub().transport(newPeerId()),
        signal: new AbortController().signal,
        onProgress: () => undefined,
      },
    );
    stage.dispose();
    await vi.waitFor(() => expect(cached).toEqual([{ modelUrl, layerStart: 0, layerEnd: 1 }]));
    await backend.dispose();
    return server.requests.map(({ range }) => range);
  };
  expect((await load()).some((range) => range !== 'bytes=0-0')).toBe(true);
  cached = [];
  const again = await load();
  expect(again.length).toBeGreaterThan(0);
  expect(again.every((range) => range === 'bytes=0-0')).toBe(true);
});
