import type { KernelCompiler } from '../kernel.ts';
import type { StepKernel } from '../step.ts';
import { linearRows } from './linear-shape.ts';
import type { LinearBuffers, LinearShape } from './linear-shape.ts';
import { createMatmul } from './matmul.ts';
import { createMatvec } from './matvec.ts';

/** Up to here the matvec kernel wins on a GPU: a matmul tile would be mostly padding. */
const MATVEC_MAX_ROWS = 8;

/**
 * A linear map with the kernel that suits the number of rows.
 * @throws SkeinError `bad-argument` for sizes that do not fit, here and at `encode`.
 */
export async function createLinear(
  compiler: KernelCompiler,
  shape: LinearShape,
  buffers: LinearBuffers,
): Promise<StepKernel> {
  const matvec = await createMatvec(compiler, shape, buffers);
  // On a CPU it wins at any number of rows, by a factor of two: tiles bring barriers, and the caches hold the weights anyway.
  if (compiler.tuning.isSoftware) return matvec;
  const matmul = await createMatmul(compiler, shape, buffers);
  return {
    name: 'linear',
    encode: (pass, step) => {
      const kernel = linearRows(shape, step) <= MATVEC_MAX_ROWS ? matvec : matmul;
      kernel.encode(pass, step);
    },
  };
}
