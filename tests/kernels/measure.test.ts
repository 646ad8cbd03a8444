import { beforeAll, describe, expect, it } from 'vitest';
import type { EngineDevice } from '../../src/engine/device.ts';
import { measureDevice } from '../../src/engine/measure.ts';
import { refusalOf } from '../fixtures/errors.ts';
import { openTestGpu } from './gpu.ts';

const MIB = 1024 * 1024;
/** The `sizes` uniforms of the kernels, which go with their bind groups. */
const LEFT_BYTES = 1024;

let engine: EngineDevice;
beforeAll(async () => {
  ({ engine } = await openTestGpu());
});

/** The same device with so much memory, which counts what was allocated on it and not freed. */
function withMemory(sizeBytes: number) {
  let usedBytes = 0;
  const outcomes: (GPUError | null)[] = [];
  const createBuffer = (descriptor: GPUBufferDescriptor): GPUBuffer => {
    const isFull = usedBytes + descriptor.size > sizeBytes;
    outcomes.push(isFull ? { message: 'full' } : null);
    // What does not fit here must not be taken from the real one either.
    const buffer = engine.device.createBuffer({ ...descriptor, size: isFull ? 16 : descriptor.size });
    const bytes = isFull ? 0 : descriptor.size;
    usedBytes += bytes;
    const destroy = buffer.destroy.bind(buffer);
    buffer.destroy = () => {
      usedBytes -= bytes;
      destroy();
    };
    return buffer;
  };
  const replaced: Partial<Record<string | symbol, unknown>> = {
    createBuffer,
    pushErrorScope: () => undefined,
    popErrorScope: () => Promise.resolve(outcomes.pop() ?? null),
  };
  const device = new Proxy(engine.device, {
    get: (target, name) => {
      const value: unknown = replaced[name] ?? Reflect.get(target, name);
      return typeof value === 'function' && !(name in replaced) ? (value.bind(target) as unknown) : value;
    },
  });
  return { engine: { ...engine, device }, usedBytes: () => usedBytes };
}

describe('measureDevice', () => {
  const signal = new AbortController().signal;

  it('measures rates, and memory up to the limit, and gives everything back', async () => {
    const { engine: device, usedBytes } = withMemory(Infinity);
    const measured = await measureDevice(device, { memoryLimitBytes: 300 * MIB + 5, signal });
    expect(measured.memoryBytes).toBe(300 * MIB + 5);
    expect(measured.matvecBytesPerSecond).toBeGreaterThan(0);
    expect(measured.matmulFlopsPerSecond).toBeGreaterThan(0);
    expect(Object.values(measured).every(Number.isFinite)).toBe(true);
    expect(usedBytes()).toBeLessThan(LEFT_BYTES);
  });

  it('finds how much memory there is, to the smallest probe', async () => {
    const { engine: device, usedBytes } = withMemory(500 * MIB);
    const { memoryBytes } = await measureDevice(device, { memoryLimitBytes: 4096 * MIB, signal });
    expect(memoryBytes).toBeLessThanOrEqual(500 * MIB);
    // Beside the probes lie the 21 MiB of the measurement itself.
    expect(memoryBytes).toBeGreaterThan((500 - 21 - 16) * MIB);
    expect(usedBytes()).toBeLessThan(LEFT_BYTES);
  });

  it('says so when there is none', async () => {
    const { engine: device, usedBytes } = withMemory(30 * MIB);
    const error = await refusalOf(() => measureDevice(device, { memoryLimitBytes: 4096 * MIB, signal }));
    expect(error).toMatchObject({ code: 'out-of-memory' });
    expect(usedBytes()).toBeLessThan(LEFT_BYTES);
  });

  it('stops when it is cancelled', async () => {
    const options = { memoryLimitBytes: MIB, signal: AbortSignal.abort() };
    const error = await refusalOf(() => measureDevice(engine, options));
    expect(error).toMatchObject({ code: 'aborted' });
  });
});
