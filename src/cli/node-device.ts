import { chooseInt8Tuning, chooseTuning } from '../engine/choose-tuning.ts';
import { requestEngineDevice } from '../engine/device.ts';
import type { EngineDevice } from '../engine/device.ts';
import { KernelCompiler } from '../engine/kernel.ts';
import { createNodeGpu } from '../engine/node-gpu.ts';
import type { Activations } from '../protocol/activations.ts';
import { fileTuningStore } from './tuning-file.ts';

interface NodeDeviceOptions {
  /** Part of an adapter's name, to choose among several. */
  readonly adapter?: string | undefined;
  /** To ask for besides, where the adapter has them. */
  readonly features?: readonly GPUFeatureName[];
  /** What the slices to come are multiplied with; it decides what is measured. */
  readonly activations?: Activations;
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
    const store = fileTuningStore();
    KernelCompiler.tune(engine.device, await chooseTuning(engine, store));
    if (options.activations === 'int8') {
      KernelCompiler.tune(engine.device, await chooseInt8Tuning(engine, store));
    }
    return engine;
  } catch (thrown) {
    engine.device.destroy();
    throw thrown;
  }
}
