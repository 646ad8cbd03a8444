import code from '../../../shaders/matmul.wgsl?raw';
import { bindKernel, dispatchKernel } from '../kernel.ts';
import type { KernelCompiler, KernelSource } from '../kernel.ts';
import type { StepKernel } from '../step.ts';
import { FORMAT_CODE } from '../weight-format.ts';
import { checkLinear, checkLinearStep, LINEAR_BINDINGS, linearBindings, linearRows } from './linear-shape.ts';
import type { LinearBuffers, LinearShape } from './linear-shape.ts';
import { WEIGHTS_CODE } from './weights.ts';

const source: KernelSource = { name: 'matmul', code: WEIGHTS_CODE + code, bindings: LINEAR_BINDINGS };

/** The tile of a workgroup, as in matmul.wgsl. */
const TILE_ROWS = 32;
const TILE_FEATURES = 64;

/**
 * For many rows; reads the weights once per `TILE_ROWS` rows.
 * @throws SkeinError `bad-argument` for sizes that do not fit, here and at `encode`.
 */
export async function createMatmul(
  compiler: KernelCompiler,
  shape: LinearShape,
  buffers: LinearBuffers,
): Promise<StepKernel> {
  const { name } = source;
  checkLinear(name, shape, buffers);
  const kernel = await compiler.compile(source, { weight_format: FORMAT_CODE[shape.format] });
  const bound = bindKernel(compiler.device, kernel, linearBindings(compiler.device, shape, buffers));
  return {
    name,
    encode: (pass, step) => {
      const rows = linearRows(shape, step);
      if (rows === 0) return;
      checkLinearStep(name, shape, buffers, rows);
      dispatchKernel(pass, bound, [
        Math.ceil(rows / TILE_ROWS),
        Math.ceil(shape.outFeatures / TILE_FEATURES),
      ]);
    },
  };
}
