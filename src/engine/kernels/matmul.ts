import inputCode from '../../../shaders/input_vectors.wgsl?raw';
import code from '../../../shaders/matmul.wgsl?raw';
import int8Code from '../../../shaders/matmul_int8.wgsl?raw';
import { bindKernel, dispatchKernel } from '../kernel.ts';
import type { KernelCompiler } from '../kernel.ts';
import type { StepKernel } from '../step.ts';
import type { Tuning } from '../tuning.ts';
import { int8Text } from './int8-input.ts';
import { checkLinear, checkLinearStep, compileLinear, linearBindings, linearRows } from './linear-shape.ts';
import type { LinearBuffers, LinearKernelText, LinearShape } from './linear-shape.ts';

const NAME = 'matmul';

/** The tile of a workgroup, as in matmul.wgsl. */
const TILE_ROWS = 32;
const TILE_FEATURES = 64;

/**
 * For many rows on a GPU; reads the weights once per `TILE_ROWS` rows.
 * @throws SkeinError `bad-argument` for sizes that do not fit, here and at `encode`.
 */
export async function createMatmul(
  compiler: KernelCompiler,
  shape: LinearShape,
  buffers: LinearBuffers,
): Promise<StepKernel> {
  checkLinear(NAME, shape, buffers);
  const kernel = await compileLinear(compiler, textOf(shape, compiler.tuning), shape);
  const bound = bindKernel(compiler.device, kernel, linearBindings(compiler.device, shape, buffers));
  return {
    name: NAME,
    encode: (pass, step) => {
      const rows = linearRows(shape, step);
      if (rows === 0) return;
      checkLinearStep(NAME, shape, buffers, step);
      dispatchKernel(pass, bound, [
        Math.ceil(rows / TILE_ROWS),
        Math.ceil(shape.outFeatures / TILE_FEATURES),
      ]);
    },
  };
}

function textOf({ activations }: LinearShape, tuning: Tuning): LinearKernelText {
  if (activations !== 'int8') return { name: NAME, code: inputCode + code, usesSubgroups: false };
  return int8Text(NAME, int8Code, tuning, false);
}
