import { requestEngineDevice } from '../../src/engine/device.ts';
import type { EngineDevice } from '../../src/engine/device.ts';
import { createNodeGpu } from '../../src/engine/node-gpu.ts';

/** Timestamps are otherwise rounded to 0.1 ms, against pages that spy by them. */
const EXACT_TIMESTAMPS = 'disable-dawn-features=timestamp_quantization';

/** A new device on the adapter of `--driver`, in this process. The caller destroys it. @param features to ask for besides. */
export async function openBenchDevice(features: readonly GPUFeatureName[] = []): Promise<EngineDevice> {
  return requestEngineDevice(await createNodeGpu(undefined, [EXACT_TIMESTAMPS]), features);
}
