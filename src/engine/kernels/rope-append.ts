import code from '../../../shaders/rope_append.wgsl?raw';
import { bindKernel, dispatchKernel } from '../kernel.ts';
import type { KernelCompiler, KernelSource } from '../kernel.ts';
import type { StepKernel } from '../step.ts';
import { cacheOverrides, checkAttentionShape, qkvRowBytes } from './attention-shape.ts';
import type { AttentionShape } from './attention-shape.ts';
import { checkBytes } from './checks.ts';

const source: KernelSource = {
  name: 'rope_append',
  code,
  bindings: {
    step: 'uniform',
    qkv: 'read-write',
    q_norm: 'read',
    k_norm: 'read',
    rope_table: 'read',
    row_info: 'read',
    block_tables: 'read',
    keys: 'read-write',
    values: 'read-write',
  },
};

/** Invocations per workgroup to aim at: one warp of most GPUs. Software adapters pay dearly for a barrier over more. */
const WORKGROUP_INVOCATIONS = 32;
/** Elements of a head that one invocation keeps in registers. */
const ELEMENTS_PER_INVOCATION = 4;

export interface RopeAppendBuffers {
  readonly step: GPUBuffer;
  /** f32 [rows, headCount + 2 · kvHeadCount, headDim]; q is replaced, k and v are read. */
  readonly qkv: GPUBuffer;
  /** Weights f32 [headDim] of the per-head RMS norm of q and k (Qwen3); null where the model has none. */
  readonly norm: { readonly q: GPUBuffer; readonly k: GPUBuffer; readonly epsilon: number } | null;
  /** (cos, sin) f32 [positions, headDim / 2, 2]; see `ropeTable`. */
  readonly ropeTable: GPUBuffer;
  readonly rowInfo: GPUBuffer;
  readonly blockTables: GPUBuffer;
  /** The layer's cache; size from `cacheBlockBytes`. */
  readonly keys: GPUBuffer;
  readonly values: GPUBuffer;
}

/**
 * Normalises (if the model does) and rotates q in place and k on its way to the cache, and appends v.
 * Positions must lie within the rope table and the block tables within the cache: the caller checks its batch.
 * @throws SkeinError `bad-argument` for sizes that do not fit, here and at `encode`.
 */
export async function createRopeAppend(
  compiler: KernelCompiler,
  shape: AttentionShape,
  buffers: RopeAppendBuffers,
): Promise<StepKernel> {
  const { name } = source;
  checkAttentionShape(name, shape);
  const { norm } = buffers;
  if (norm !== null) {
    checkBytes(name, 'q_norm', norm.q, shape.headDim * Float32Array.BYTES_PER_ELEMENT);
    checkBytes(name, 'k_norm', norm.k, shape.headDim * Float32Array.BYTES_PER_ELEMENT);
  }
  const lanesPerHead = shape.headDim / ELEMENTS_PER_INVOCATION;
  const headsPerWorkgroup = Math.max(1, Math.floor(WORKGROUP_INVOCATIONS / lanesPerHead));
  const kernel = await compiler.compile(source, {
    ...cacheOverrides(shape),
    lanes_per_head: lanesPerHead,
    heads_per_workgroup: headsPerWorkgroup,
    qk_norm: norm === null ? 0 : 1,
    epsilon: norm === null ? 0 : norm.epsilon,
  });
  const bound = bindKernel(compiler.device, kernel, {
    step: buffers.step,
    qkv: buffers.qkv,
    // Every binding needs a buffer; without a norm this one is never read.
    q_norm: norm?.q ?? buffers.ropeTable,
    k_norm: norm?.k ?? buffers.ropeTable,
    rope_table: buffers.ropeTable,
    row_info: buffers.rowInfo,
    block_tables: buffers.blockTables,
    keys: buffers.keys,
    values: buffers.values,
  });
  const workgroupsPerRow = Math.ceil((shape.headCount + 2 * shape.kvHeadCount) / headsPerWorkgroup);
  return {
    name,
    encode: (pass, step) => {
      if (step.rows === 0) return;
      checkBytes(name, 'qkv', buffers.qkv, step.rows * qkvRowBytes(shape));
      dispatchKernel(pass, bound, [workgroupsPerRow, step.rows]);
    },
  };
}

/**
 * What `rope_append` turns q and k by.
 * @param inverseFrequencies [headDim / 2], radians per position.
 * @returns f32 [positionCount, headDim / 2, 2], (cos, sin). Computed in float64: an angle of a late position in f32 is off by
 *   more than the angle between neighbours.
 */
export function ropeTable(
  inverseFrequencies: Float64Array,
  positionCount: number,
): Float32Array<ArrayBuffer> {
  const table = new Float32Array(positionCount * inverseFrequencies.length * 2);
  for (let position = 0; position < positionCount; position++) {
    inverseFrequencies.forEach((frequency, pair) => {
      const index = (position * inverseFrequencies.length + pair) * 2;
      table[index] = Math.cos(position * frequency);
      table[index + 1] = Math.sin(position * frequency);
    });
  }
  return table;
}
