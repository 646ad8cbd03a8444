import { openNodeDevice } from '../../src/cli/node-device.ts';
import type { EngineDevice } from '../../src/engine/device.ts';

/** Timestamps are otherwise rounded to 0.1 ms, against pages that spy by them. */
const EXACT_TIMESTAMPS = 'disable-dawn-features=timestamp_quantization';

/** A new device on the adapter of `--driver`, in this process, tuned as it ships. The caller destroys it. @param features to ask for besides. */
export async function openBenchDevice(features: readonly GPUFeatureName[] = []): Promise<EngineDevice> {
  return openNodeDevice({ flags: [EXACT_TIMESTAMPS], features });
}
