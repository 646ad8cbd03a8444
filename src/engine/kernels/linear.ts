import type { KernelCompiler } from '../kernel.ts';
import type { StepKernel } from '../step.ts';
import { linearRows } from './linear-shape.ts';
import type { LinearBuffers, LinearShape } from './linear-shape.ts';
import { createMatmul } from './matmul.ts';
import { createMatvecLane } from './matvec-lane.ts';
import { createMatvec } from './matvec.ts';

/** Up to here the matvec kernel wins on a GPU: a matmul tile would be mostly padding. */
const MATVEC_MAX_ROWS = 8;

/**
 * A linear map with the kernel that suits the adapter and the number of rows.
 * @throws SkeinError `bad-argument` for sizes that do not fit, here and at `encode`.
 */
export async function createLinear(
  compiler: KernelCompiler,
  shape: LinearShape,
  buffers: LinearBuffers,
): Promise<StepKernel> {
  if (compiler.tuning.isSoftware) return createMatvecKernel(compiler, shape, buffers);
  const [matvec, matmul] = await Promise.all([
    createMatvecKernel(compiler, shape, buffers),
    createMatmul(compiler, shape, buffers),
  ]);
  return {
    name: 'linear',
    encode: (pass, step) => {
      const kernel = linearRows(shape, step) <= MATVEC_MAX_ROWS ? matvec : matmul;
      kernel.encode(pass, step);
    },
  };
}

/** The kernel for few rows that suits the adapter; on a CPU it wins at any number of rows. */
export function createMatvecKernel(
  compiler: KernelCompiler,
  shape: LinearShape,
  buffers: LinearBuffers,
): Promise<StepKernel> {
  return compiler.tuning.isSoftware
    ? createMatvecLane(compiler, shape, buffers)
    : createMatvec(compiler, shape, buffers);
}
