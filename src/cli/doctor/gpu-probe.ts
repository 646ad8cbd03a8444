import { requestEngineDevice } from '../../engine/device.ts';
import { createNodeGpu } from '../../engine/node-gpu.ts';
import { GPU_LIMITS } from './facts.ts';
import type { GpuFacts, GpuLimit, KernelFacts, Outcome } from './facts.ts';
import { probeKernel } from './kernel-probe.ts';
import { attempt } from './attempt.ts';

/** Compiling on a software adapter that others use as well. */
const KERNEL_TIMEOUT_MS = 60_000;
const ADAPTER_TIMEOUT_MS = 30_000;

export interface GpuProbe {
  readonly gpu: Outcome<GpuFacts>;
  /** Null where there is no device to run it on. */
  readonly kernel: Outcome<KernelFacts> | null;
}

/** @param adapter part of an adapter's name, to choose among several. */
export async function probeGpu(adapter: string | undefined): Promise<GpuProbe> {
  const opened = await attempt('The GPU', ADAPTER_TIMEOUT_MS, () => openGpu(adapter));
  if (!opened.isOk) return { gpu: opened, kernel: null };
  const { facts, device } = opened.facts;
  try {
    const kernel = await attempt('A kernel', KERNEL_TIMEOUT_MS, () => probeKernel(device));
    return { gpu: { isOk: true, facts }, kernel };
  } finally {
    device.destroy();
  }
}

async function openGpu(name: string | undefined): Promise<{ facts: GpuFacts; device: GPUDevice }> {
  const gpu = await createNodeGpu(name);
  const { device, adapterName } = await requestEngineDevice(gpu, ['timestamp-query']);
  const { features, limits, adapterInfo } = device;
  const limit = (key: GpuLimit) => [key, limits[key]] as const;
  const facts = {
    name: adapterName,
    isSoftware: adapterInfo.isFallbackAdapter || /llvmpipe|lavapipe|swiftshader|software/i.test(adapterName),
    features: [...features],
    // Cast: fromEntries forgets the names.
    limits: Object.fromEntries(GPU_LIMITS.map(limit)) as Record<GpuLimit, number>,
  };
  return { facts, device };
}
