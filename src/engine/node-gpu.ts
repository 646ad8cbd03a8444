import { paceDawnPolling } from './dawn-polling.ts';
import { SkeinError } from '../protocol/errors.ts';

/**
 * The GPU of this machine in Node, through Dawn (npm package `webgpu`). Also installs the WebGPU globals
 * (`GPUBufferUsage` and so on) that browsers have, and lets the thread sleep while it waits for the GPU.
 * The process lives as long as the returned object is reachable: https://issues.chromium.org/issues/387965810
 * @param adapter part of an adapter's name, to choose among several.
 * @param flags of Dawn, such as `disable-dawn-features=timestamp_quantization`.
 * @throws SkeinError `no-adapter` when the package has no binary for this platform.
 */
export async function createNodeGpu(adapter?: string, flags: readonly string[] = []): Promise<GPU> {
  try {
    const { create, globals } = await import('webgpu');
    Object.assign(globalThis, globals);
    paceDawnPolling();
    return create([...(adapter === undefined ? [] : [`adapter=${adapter}`]), ...flags]);
  } catch (cause) {
    throw new SkeinError(
      'no-adapter',
      `WebGPU for Node could not start on ${process.platform}-${process.arch}: ${String(cause)}`,
      { cause },
    );
  }
}
