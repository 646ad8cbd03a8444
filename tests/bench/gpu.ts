import { requestEngineDevice } from '../../src/engine/device.ts';
import type { EngineDevice } from '../../src/engine/device.ts';
import { createNodeGpu } from '../../src/engine/node-gpu.ts';

/** A new device on the adapter of `--driver`, in this process. The caller destroys it. */
export async function openBenchDevice(): Promise<EngineDevice> {
  return requestEngineDevice(await createNodeGpu());
}
