import code from '../../../shaders/rms_norm.wgsl?raw';
import { bindKernel, dispatchKernel } from '../kernel.ts';
import type { KernelCompiler, KernelSource } from '../kernel.ts';
import type { StepKernel } from '../step.ts';
import { checkBytes, checkSize } from './checks.ts';

const source: KernelSource = {
  name: 'rms_norm',
  code,
  bindings: { head_info: 'read', weight: 'read', delta: 'read', hidden: 'read-write', normed: 'read-write' },
};

/** Elements of a vec4. */
const QUAD = 4;
/** Quads per invocation to aim at: enough that adding up the partial sums does not dominate. */
const QUADS_PER_LANE = 4;
const MIN_LANES = 8;
const MAX_LANES = 64;

export interface RmsNormShape {
  /** Elements of a row; a multiple of 4. */
  readonly size: number;
  readonly epsilon: number;
}

export interface RmsNormBuffers {
  /** f32 [size]. */
  readonly weight: GPUBuffer;
  /** f32 [rows, size]. */
  readonly hidden: GPUBuffer;
  /** f32 [rows, size], added to `hidden` first; null when no branch is pending. */
  readonly delta: GPUBuffer | null;
  /** The rows to norm, u32 [head rows]; null norms all and writes the sum with `delta` back to `hidden`. */
  readonly headInfo: GPUBuffer | null;
  /** f32 [rows or head rows, size]. */
  readonly normed: GPUBuffer;
}

/** @throws SkeinError `bad-argument` for sizes that do not fit, here and at `encode`. */
export async function createRmsNorm(
  compiler: KernelCompiler,
  shape: RmsNormShape,
  buffers: RmsNormBuffers,
): Promise<StepKernel> {
  const { name } = source;
  const { hidden, delta, headInfo, normed, weight } = buffers;
  const rowBytes = shape.size * Float32Array.BYTES_PER_ELEMENT;
  checkSize(name, 'size', shape.size, { multipleOf: QUAD });
  checkBytes(name, 'weight', weight, rowBytes);
  const kernel = await compiler.compile(source, {
    size: shape.size,
    epsilon: shape.epsilon,
    add_residual: delta === null ? 0 : 1,
    gather: headInfo === null ? 0 : 1,
    lanes: rowLanes(shape.size),
  });
  const bound = bindKernel(compiler.device, kernel, {
    // Every binding needs a buffer; one that is switched off is never read.
    head_info: headInfo ?? weight,
    weight,
    delta: delta ?? weight,
    hidden,
    normed,
  });
  return {
    name,
    encode: (pass, step) => {
      const normedRows = headInfo === null ? step.rows : step.headRows;
      if (normedRows === 0) return;
      checkBytes(name, 'hidden', hidden, step.rows * rowBytes);
      checkBytes(name, 'normed', normed, normedRows * rowBytes);
      if (delta !== null) checkBytes(name, 'delta', delta, step.rows * rowBytes);
      if (headInfo !== null) {
        checkBytes(name, 'head_info', headInfo, step.headRows * Uint32Array.BYTES_PER_ELEMENT);
      }
      dispatchKernel(pass, bound, [normedRows]);
    },
  };
}

/** A power of two. */
function rowLanes(size: number): number {
  let lanes = MIN_LANES;
  while (lanes < MAX_LANES && lanes * QUADS_PER_LANE * QUAD < size) lanes *= 2;
  return lanes;
}
