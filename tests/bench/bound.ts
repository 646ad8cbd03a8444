import { GpuMemory } from '../../src/engine/gpu-memory.ts';
import { bindKernel, dispatchKernel, KernelCompiler } from '../../src/engine/kernel.ts';
import { median } from './timing.ts';
import multiplyAdd from './shaders/multiply_add.wgsl?raw';

/** What no kernel on this adapter can beat; a number above it is a bug in the measurement. */
export interface AdapterBound {
  /** Bytes read plus bytes written per second by a buffer copy too large for caches. */
  readonly copyBytesPerSecond: number;
  /** Floating-point operations per second, two per multiply-add, in f32 without memory. */
  readonly flopsPerSecond: number;
}

const COPY_BYTES = 64 * 1024 * 1024;
const ROUNDS = 128;
const INVOCATIONS = 64 * 256;
/** Two per multiply-add of 8 links of 8 chains of vec4. */
const FLOPS_PER_ROUND = 2 * 8 * 8 * 4;
const REPEATS = 5;
/** A measurement lasts at least this long, so that a submit's own cost does not count. */
const MEASURE_MS = 50;

export async function measureBound(device: GPUDevice): Promise<AdapterBound> {
  const memory = new GpuMemory(device);
  try {
    const from = memory.storage('copy source', COPY_BYTES);
    const to = memory.storage('copy target', COPY_BYTES);
    const sums = memory.storage('sums', INVOCATIONS * Float32Array.BYTES_PER_ELEMENT);
    const compiler = KernelCompiler.of(device);
    const source = { name: 'multiply_add', code: multiplyAdd, bindings: { sums: 'read-write' } } as const;
    const kernel = bindKernel(device, await compiler.compile(source, { rounds: ROUNDS }), { sums });
    await memory.allocated();
    const copySeconds = await secondsEach(device, (encoder) => {
      encoder.copyBufferToBuffer(from, 0, to, 0, COPY_BYTES);
    });
    const computeSeconds = await secondsEach(device, (encoder) => {
      const pass = encoder.beginComputePass();
      dispatchKernel(pass, kernel, [INVOCATIONS / 64]);
      pass.end();
    });
    return {
      copyBytesPerSecond: (2 * COPY_BYTES) / copySeconds,
      flopsPerSecond: (INVOCATIONS * ROUNDS * FLOPS_PER_ROUND) / computeSeconds,
    };
  } finally {
    memory.dispose();
  }
}

async function secondsEach(device: GPUDevice, encode: (encoder: GPUCommandEncoder) => void): Promise<number> {
  const elapsedMs = async (times: number) => {
    const startedMs = performance.now();
    const encoder = device.createCommandEncoder();
    for (let time = 0; time < times; time++) encode(encoder);
    device.queue.submit([encoder.finish()]);
    await device.queue.onSubmittedWorkDone();
    return performance.now() - startedMs;
  };
  await elapsedMs(1);
  let times = 1;
  while ((await elapsedMs(times)) < MEASURE_MS) times *= 2;
  const samples: number[] = [];
  for (let repeat = 0; repeat < REPEATS; repeat++) samples.push((await elapsedMs(times)) / times);
  return median(samples) / 1000;
}
