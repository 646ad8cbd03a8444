import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { GpuBackend } from '../../src/contributor/gpu-backend.ts';
import { createNodeGpu } from '../../src/engine/node-gpu.ts';
import { LocalHub } from '../../src/mesh/local-hub.ts';
import type { CacheFormat } from '../../src/protocol/cache-format.ts';
import { newPeerId } from '../../src/protocol/ids.ts';
import { TINY_LLAMA } from '../fixtures/architectures.ts';
import { ModelServer } from '../fixtures/model-server.ts';
import { writeRandomModel } from '../fixtures/random-model.ts';

const CACHE_TOKENS = 64;

let gpu: GPU;
let server: ModelServer;
beforeAll(async () => {
  gpu = await createNodeGpu();
  const model = await writeRandomModel({ architecture: TINY_LLAMA, format: 'f32' });
  const names = ['config.json', 'model.safetensors'];
  const files = await Promise.all(
    names.map(async (name) => [`m/${name}`, await readFile(join(model.folder, name))] as const),
  );
  server = await ModelServer.start(new Map(files));
  await model.remove();
});
afterAll(async () => {
  await server.stop();
});

it('keeps keys and values as it is asked to', async () => {
  const created: GPUBufferDescriptor[] = [];
  const backend = new GpuBackend(listening(gpu, created), () => undefined);
  const keyBytes = async (cache: CacheFormat) => {
    created.length = 0;
    const stage = await backend.startStage(
      {
        modelUrl: `${server.url}/m/`,
        quantization: 'none',
        activations: 'f32',
        cache,
        model: 'tiny',
        // Neither embedding nor head: the fewest kernels to compile.
        layerStart: 1,
        layerEnd: 2,
        self: newPeerId(),
        cacheTokens: CACHE_TOKENS,
      },
      {
        transport: new LocalHub().transport(newPeerId()),
        signal: new AbortController().signal,
        onProgress: () => undefined,
      },
    );
    stage.dispose();
    return created.filter(({ label }) => label === 'keys').map(({ size }) => size);
  };
  const { kvHeadCount, headDim } = TINY_LLAMA;
  expect(await keyBytes('f32')).toEqual([CACHE_TOKENS * kvHeadCount * headDim * 4]);
  // A scale and as much padding with every head.
  expect(await keyBytes('int8')).toEqual([CACHE_TOKENS * kvHeadCount * (headDim + 8)]);
});

/** The GPU, with every buffer that is asked of its devices noted down. */
function listening(real: GPU, created: GPUBufferDescriptor[]): GPU {
  const requestAdapter = async (options?: GPURequestAdapterOptions) => {
    const adapter = await real.requestAdapter(options);
    if (adapter === null) throw new Error('There is no adapter.');
    const requestDevice = adapter.requestDevice.bind(adapter);
    adapter.requestDevice = async (descriptor) => {
      const device = await requestDevice(descriptor);
      const createBuffer = device.createBuffer.bind(device);
      device.createBuffer = (buffer) => {
        created.push(buffer);
        return createBuffer(buffer);
      };
      return device;
    };
    return adapter;
  };
  const { wgslLanguageFeatures } = real;
  return { requestAdapter, wgslLanguageFeatures } as GPU;
}
