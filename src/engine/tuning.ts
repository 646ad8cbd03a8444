import { languageFeaturesOf } from './device.ts';

/** What decides how kernels are laid out on an adapter. */
export interface Tuning {
  /** Invocations that run in step: a warp. */
  readonly subgroupSize: number;
  /** A CPU plays the GPU. Barriers and workgroup memory then cost more than arithmetic, and caches do what tiles are for. */
  readonly isSoftware: boolean;
  /** Kernels talk within a subgroup; the device has the feature `subgroups`. */
  readonly usesSubgroups: boolean;
  /** Halves are unpacked with `shader-f16`, which the device has. */
  readonly usesF16: boolean;
  /**
   * int8 activations are multiplied by the language feature `packed_4x8_integer_dot_product`, which the device has. Without it the
   * products are the same integers.
   */
  readonly usesPackedDot: boolean;
}

const PACKED_DOT_FEATURE = 'packed_4x8_integer_dot_product';

/** What most GPUs have, for browsers that do not tell. */
const DEFAULT_SUBGROUP_SIZE = 32;

/** A guess from what the adapter tells of itself, which in some browsers is nothing. */
export function tuningOf(device: {
  readonly adapterInfo?: Partial<GPUAdapterInfo>;
  readonly features?: ReadonlySet<string>;
}): Tuning {
  const { adapterInfo, features } = device;
  const subgroupSize = adapterInfo?.subgroupMinSize ?? 0;
  return {
    subgroupSize: subgroupSize > 0 ? subgroupSize : DEFAULT_SUBGROUP_SIZE,
    isSoftware: adapterInfo?.isFallbackAdapter ?? false,
    usesSubgroups: features?.has('subgroups') ?? false,
    usesF16: features?.has('shader-f16') ?? false,
    usesPackedDot: languageFeaturesOf(device).has(PACKED_DOT_FEATURE),
  };
}

/** A tuning that was kept outside the program; null for anything else. */
export function parseTuning(value: unknown): Tuning | null {
  if (typeof value !== 'object' || value === null) return null;
  const { subgroupSize, isSoftware, usesSubgroups, usesF16, usesPackedDot } = value as Readonly<
    Record<string, unknown>
  >;
  if (typeof subgroupSize !== 'number' || typeof isSoftware !== 'boolean') return null;
  if (typeof usesSubgroups !== 'boolean' || typeof usesF16 !== 'boolean') return null;
  if (typeof usesPackedDot !== 'boolean') return null;
  return { subgroupSize, isSoftware, usesSubgroups, usesF16, usesPackedDot };
}
