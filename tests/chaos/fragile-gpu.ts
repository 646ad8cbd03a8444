/** A GPU whose devices can be taken away, as a driver does that crashes. */
export interface FragileGpu {
  readonly gpu: GPU;
  /** Those that were given so far. */
  destroyDevices(): void;
}

/** @param gpu is changed: it keeps what it gives. */
export function fragileGpu(gpu: GPU): FragileGpu {
  const devices = new Set<GPUDevice>();
  const requestAdapter = gpu.requestAdapter.bind(gpu);
  gpu.requestAdapter = async (options) => {
    const adapter = await requestAdapter(options);
    if (adapter === null) return null;
    const requestDevice = adapter.requestDevice.bind(adapter);
    adapter.requestDevice = async (descriptor) => {
      const device = await requestDevice(descriptor);
      devices.add(device);
      return device;
    };
    return adapter;
  };
  return {
    gpu,
    destroyDevices: () => {
      for (const device of devices) device.destroy();
      devices.clear();
    },
  };
}
