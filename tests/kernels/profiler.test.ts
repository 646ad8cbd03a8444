import { afterAll, beforeAll, expect, it } from 'vitest';
import { requestEngineDevice } from '../../src/engine/device.ts';
import type { EngineDevice } from '../../src/engine/device.ts';
import type { RaggedBatch } from '../../src/engine/batch.ts';
import { GpuSlice } from '../../src/engine/gpu-slice.ts';
import { createNodeGpu } from '../../src/engine/node-gpu.ts';
import { PROFILER_FEATURE, StepProfiler } from '../../src/engine/profiler.ts';
import { GREEDY } from '../../src/protocol/sampling.ts';
import { openCheckpoint } from '../../src/model/open-checkpoint.ts';
import { TINY_QWEN3 } from '../fixtures/architectures.ts';
import { configJson } from '../fixtures/config-json.ts';
import { MemorySource } from '../fixtures/memory-source.ts';
import { randomTensors } from '../fixtures/random-model.ts';
import { safetensorsFile } from '../fixtures/safetensors-file.ts';
import { refusalOf } from '../fixtures/errors.ts';

const architecture = { ...TINY_QWEN3, hiddenSize: 40, intermediateSize: 72, headDim: 16 };
let engine: EngineDevice;
let slice: GpuSlice;

beforeAll(async () => {
  engine = await requestEngineDevice(await createNodeGpu(), [PROFILER_FEATURE]);
  const source = new MemorySource({
    'config.json': configJson(architecture),
    'model.safetensors': safetensorsFile(randomTensors({ architecture, format: 'f32' })),
  });
  slice = await GpuSlice.load({
    device: engine,
    checkpoint: await openCheckpoint(source),
    slice: { layerStart: 0, layerEnd: architecture.layerCount },
    precision: 'f32',
    cacheTokens: 64,
  });
});
afterAll(() => {
  slice.dispose();
  engine.device.destroy();
});

const batch = (rowCount: number): RaggedBatch => ({
  sequences: [{ rowCount, cacheLength: 0, blockTable: [0], head: { kind: 'sample', params: GREEDY } }],
  input: { kind: 'tokens', tokenIds: Uint32Array.from({ length: rowCount }, (_, row) => row + 1) },
});

it('times every dispatch of a step within the time of the step, and changes nothing about it', async () => {
  const profiler = new StepProfiler(engine.device);
  for (const rowCount of [1, 11]) {
    const plain = await slice.forward(batch(rowCount));
    const plainDispatches = slice.dispatchesPerLayer;
    const startedMs = performance.now();
    const profiled = await slice.forward(batch(rowCount), profiler);
    const wallMs = performance.now() - startedMs;
    const times = await profiler.times();

    expect(profiled).toEqual(plain);
    expect(slice.dispatchesPerLayer).toBe(plainDispatches);
    const kernels = times.map(({ kernel }) => kernel);
    expect(kernels.filter((name) => name === 'rope_append')).toHaveLength(architecture.layerCount);
    // Embedding in front and sampling behind come on top of the layers.
    expect(times.length).toBeGreaterThan(plainDispatches * architecture.layerCount);
    expect(kernels[0]).toMatch(/^embedding/);
    expect(kernels.at(-1)).toMatch(/^sample/);
    expect(times.every(({ ms }) => ms >= 0)).toBe(true);
    const kernelsMs = times.reduce((sum, { ms }) => sum + ms, 0);
    expect(kernelsMs).toBeGreaterThan(0);
    expect(kernelsMs).toBeLessThan(wallMs);
  }
  profiler.dispose();
});

it('refuses a device that was opened without timestamps', async () => {
  const plain = await requestEngineDevice(await createNodeGpu());
  const { code, message } = await refusalOf(() => new StepProfiler(plain.device));
  expect(code).toBe('bad-argument');
  expect(message).toContain(PROFILER_FEATURE);
  plain.device.destroy();
});
