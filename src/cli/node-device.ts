import { chooseTuning } from '../engine/choose-tuning.ts';
import { requestEngineDevice } from '../engine/device.ts';
import type { EngineDevice } from '../engine/device.ts';
import { KernelCompiler } from '../engine/kernel.ts';
import { createNodeGpu } from '../engine/node-gpu.ts';
import { fileTuningStore } from './tuning-file.ts';

interface NodeDeviceOptions {
  /** Part of an adapter's name, to choose among several. */
  readonly adapter?: string | undefined;
  /** To ask for besides, where the adapter has them. */
  readonly features?: readonly GPUFeatureName[];
  /** Of Dawn. */
  readonly flags?: readonly string[];
}

/**
 * A device of this machine whose kernels are laid out as measured to suit it, once per machine. The caller destroys it.
 * @throws SkeinError `no-adapter`, and what the measurement throws.
 */
export async function openNodeDevice(options: NodeDeviceOptions = {}): Promise<EngineDevice> {
  const gpu = await createNodeGpu(options.adapter, options.flags);
  const engine = await requestEngineDevice(gpu, options.features);
  try {
    KernelCompiler.tune(engine.device, await chooseTuning(engine, fileTuningStore()));
    return engine;
  } catch (thrown) {
    engine.device.destroy();
    throw thrown;
  }
}
