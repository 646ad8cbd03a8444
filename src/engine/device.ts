import { SkeinError } from '../protocol/errors.ts';

/** A GPU the engine may use. Works the same in a page's worker and in Node: it needs a `GPU`, nothing of the DOM. */
export interface EngineDevice {
  readonly device: GPUDevice;
  /** Vendor, architecture and driver, for people. */
  readonly adapterName: string;
  /** Resolves once, with the reason, when the device is gone; also after `device.destroy()`. */
  readonly lost: Promise<SkeinError>;
}

/** Limits that default far below what adapters have; we ask for all of it. */
const RAISED_LIMITS = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX',
] as const;

/** What kernels have variants for; asked for where the adapter has it. */
const WANTED_FEATURES: readonly GPUFeatureName[] = ['subgroups', 'shader-f16'];

/** In Node, Dawn is gone with the last reference to its `GPU`, whoever still holds a device: so a device holds it. */
const gpuOfDevice = new WeakMap<object, GPU>();

/** Language features, such as packed dot products, that WGSL has on a device which `requestEngineDevice` gave. */
export function languageFeaturesOf(device: object): ReadonlySet<string> {
  return gpuOfDevice.get(device)?.wgslLanguageFeatures ?? new Set();
}

/**
 * @param features to ask for besides, where the adapter has them, such as timestamps for the profiler, which slow some drivers down.
 * @throws SkeinError `no-adapter` when this machine offers no usable GPU.
 */
export async function requestEngineDevice(
  gpu: GPU,
  features: readonly GPUFeatureName[] = [],
): Promise<EngineDevice> {
  const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
  if (adapter === null) {
    throw new SkeinError(
      'no-adapter',
      'No GPU adapter was found. In a browser, check that hardware acceleration is on; in Node, that a Vulkan, Metal or D3D12 driver is installed.',
    );
  }
  const requiredLimits = Object.fromEntries(RAISED_LIMITS.map((limit) => [limit, adapter.limits[limit]]));
  try {
    const requiredFeatures = [...WANTED_FEATURES, ...features].filter((feature) =>
      adapter.features.has(feature),
    );
    const device = await adapter.requestDevice({ requiredLimits, requiredFeatures });
    gpuOfDevice.set(device, gpu);
    return {
      device,
      adapterName: adapterName(adapter.info),
      lost: device.lost.then(
        (info) =>
          new SkeinError('device-lost', `The GPU device was lost (${info.reason}): ${info.message}`, {
            data: { reason: info.reason },
          }),
      ),
    };
  } catch (cause) {
    throw new SkeinError('no-adapter', `The GPU ${adapterName(adapter.info)} refused a device.`, { cause });
  }
}

function adapterName(info: GPUAdapterInfo): string {
  if (info.description !== '') return info.description;
  const parts = [info.vendor, info.architecture, info.device].filter((part) => part !== '');
  return parts.length > 0 ? parts.join(' ') : 'unnamed GPU';
}
