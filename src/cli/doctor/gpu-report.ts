import type { GpuFacts, GpuLimit, KernelFacts, Outcome } from './facts.ts';
import type { Finding } from './finding.ts';

const BYTES_PER_MIB = 1024 ** 2;

/** What the kernels take: what every WebGPU implementation has to have. */
const NEEDED: Readonly<Record<GpuLimit, number>> = {
  maxStorageBufferBindingSize: 128 * BYTES_PER_MIB,
  maxBufferSize: 256 * BYTES_PER_MIB,
  maxComputeInvocationsPerWorkgroup: 256,
  maxComputeWorkgroupStorageSize: 16 * 1024,
  maxStorageBuffersPerShaderStage: 8,
};

const LIMIT_WORDS: Readonly<Record<GpuLimit, (value: number) => string>> = {
  maxStorageBufferBindingSize: (value) => `bindings of ${mebibytes(value)}`,
  maxBufferSize: (value) => `buffers of ${mebibytes(value)}`,
  maxComputeInvocationsPerWorkgroup: (value) => `${value} invocations in a workgroup`,
  maxComputeWorkgroupStorageSize: (value) => `${value / 1024} KiB shared by them`,
  maxStorageBuffersPerShaderStage: (value) => `${value} buffers in a kernel`,
};

/** Features that help, and what is so without them. Nothing needs them. */
const WANTED = [
  ['shader-f16', 'two-byte weights are unpacked in more steps'],
  ['subgroups', 'sums go through shared memory'],
  ['timestamp-query', 'no times of single kernels'],
] as const;

export function gpuFindings(gpu: Outcome<GpuFacts>): Finding[] {
  if (!gpu.isOk) {
    const advice =
      'Install a driver: Vulkan on Linux (vulkaninfo lists what there is), none extra on macOS and Windows. In a container pass the GPU in. On a machine without one, mesa-vulkan-drivers 23 or newer computes on the processor.';
    return [{ check: 'GPU', verdict: 'problem', found: gpu.message, advice }];
  }
  return [adapterFinding(gpu.facts), featuresFinding(gpu.facts), limitsFinding(gpu.facts)];
}

function adapterFinding({ name, isSoftware }: GpuFacts): Finding {
  if (!isSoftware) return { check: 'GPU', verdict: 'ok', found: name };
  return {
    check: 'GPU',
    verdict: 'warning',
    found: `${name}: a software adapter: answers come, slowly`,
    advice:
      'Where this machine has a GPU, install its Vulkan driver, or choose it with --adapter; VK_ICD_FILENAMES may hide it.',
  };
}

function featuresFinding({ features }: GpuFacts): Finding {
  const words = WANTED.map(([feature, without]) =>
    features.includes(feature) ? feature : `no ${feature} (${without})`,
  );
  return { check: 'Features', verdict: 'ok', found: words.join(', ') };
}

function limitsFinding({ limits }: GpuFacts): Finding {
  const check = 'Limits';
  const names = Object.keys(NEEDED) as GpuLimit[];
  const short = names.filter((name) => limits[name] < NEEDED[name]);
  if (short.length === 0) {
    return { check, verdict: 'ok', found: names.map((name) => LIMIT_WORDS[name](limits[name])).join(', ') };
  }
  const words = short.map(
    (name) => `${LIMIT_WORDS[name](limits[name])}, and the kernels take ${LIMIT_WORDS[name](NEEDED[name])}`,
  );
  const advice = 'Update the driver, or choose another GPU with --adapter.';
  return { check, verdict: 'problem', found: words.join('; '), advice };
}

export function kernelFinding(kernel: Outcome<KernelFacts>): Finding {
  const check = 'Kernel';
  const advice = 'Update the driver: what this GPU computes cannot be used.';
  if (!kernel.isOk) return { check, verdict: 'problem', found: kernel.message, advice };
  const { largestError, tolerance, milliseconds } = kernel.facts;
  // Not `>`: what is not a number is wrong, too.
  if (!(largestError <= tolerance)) {
    const found = `a matrix product is wrong by ${largestError}, and ${tolerance} would be rounding`;
    return { check, verdict: 'problem', found, advice };
  }
  const found = `a matrix product is right to ${largestError.toExponential(1)}, in ${milliseconds.toFixed(1)} ms`;
  return { check, verdict: 'ok', found };
}

function mebibytes(bytes: number): string {
  return `${Math.floor(bytes / BYTES_PER_MIB)} MiB`;
}
