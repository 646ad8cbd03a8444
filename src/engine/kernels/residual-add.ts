import code from '../../../shaders/residual_add.wgsl?raw';
import { bindKernel, dispatchKernel } from '../kernel.ts';
import type { KernelCompiler, KernelSource } from '../kernel.ts';
import type { StepKernel } from '../step.ts';
import { checkBytes, checkSize } from './checks.ts';

const source: KernelSource = {
  name: 'residual_add',
  code,
  bindings: { delta: 'read', hidden: 'read-write' },
};

const QUAD = 4;
const WORKGROUP_QUADS = 64;

export interface ResidualAddBuffers {
  /** f32 [rows, size]. */
  readonly delta: GPUBuffer;
  /** f32 [rows, size]. */
  readonly hidden: GPUBuffer;
}

/**
 * @param shape elements of a row; a multiple of 4.
 * @throws SkeinError `bad-argument` for sizes that do not fit, here and at `encode`.
 */
export async function createResidualAdd(
  compiler: KernelCompiler,
  { size }: { readonly size: number },
  { delta, hidden }: ResidualAddBuffers,
): Promise<StepKernel> {
  const { name } = source;
  checkSize(name, 'size', size, { multipleOf: QUAD });
  const kernel = await compiler.compile(source, { size });
  const bound = bindKernel(compiler.device, kernel, { delta, hidden });
  const rowBytes = size * Float32Array.BYTES_PER_ELEMENT;
  const workgroupsPerRow = Math.ceil(size / QUAD / WORKGROUP_QUADS);
  return {
    name,
    encode: (pass, step) => {
      if (step.rows === 0) return;
      checkBytes(name, 'delta', delta, step.rows * rowBytes);
      checkBytes(name, 'hidden', hidden, step.rows * rowBytes);
      dispatchKernel(pass, bound, [workgroupsPerRow, step.rows]);
    },
  };
}
