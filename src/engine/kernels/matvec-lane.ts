import quadsCode from '../../../shaders/lane_quads.wgsl?raw';
import vectorsCode from '../../../shaders/lane_vectors.wgsl?raw';
import code from '../../../shaders/matvec_lane.wgsl?raw';
import { bindKernel, dispatchKernel, spreadWorkgroups } from '../kernel.ts';
import type { KernelCompiler } from '../kernel.ts';
import type { StepKernel } from '../step.ts';
import {
  checkLinear,
  checkLinearStep,
  compileLinear,
  linearBindings,
  linearRows,
  QUAD_FEATURES,
} from './linear-shape.ts';
import type { LinearBuffers, LinearShape } from './linear-shape.ts';

const NAME = 'matvec_lane';
/** Invocations of a workgroup: with fewer, starting workgroups shows on SwiftShader. */
const LANES = 32;
/** Rows that share one read of the weights, fewest first; as matvec_lane.wgsl has them. */
const INPUT_ROWS = [1, 4, 8] as const;
const MOST_INPUT_ROWS = 8;

/**
 * For any number of rows on a processor that plays a GPU; reads the weights once per 8 rows.
 * @throws SkeinError `bad-argument` for sizes that do not fit, here and at `encode`.
 */
export async function createMatvecLane(
  compiler: KernelCompiler,
  shape: LinearShape,
  buffers: LinearBuffers,
): Promise<StepKernel> {
  checkLinear(NAME, shape, buffers);
  const { usesSubgroups } = compiler.tuning;
  const text = { name: NAME, code: (usesSubgroups ? quadsCode : vectorsCode) + code, usesSubgroups };
  const bindings = linearBindings(compiler.device, shape, buffers);
  const kernels = await Promise.all(
    INPUT_ROWS.map(async (inputRows) => {
      const kernel = await compileLinear(compiler, text, shape, { input_rows: inputRows, lanes: LANES });
      return { inputRows, bound: bindKernel(compiler.device, kernel, bindings) };
    }),
  );
  const [x, y] = spreadWorkgroups(Math.ceil(shape.outFeatures / (LANES * QUAD_FEATURES)));
  return {
    name: NAME,
    encode: (pass, step) => {
      const rows = linearRows(shape, step);
      if (rows === 0) return;
      checkLinearStep(NAME, shape, buffers, step);
      for (const { inputRows, bound } of kernels) {
        if (inputRows < rows && inputRows < MOST_INPUT_ROWS) continue;
        dispatchKernel(pass, bound, [x, y, Math.ceil(rows / inputRows)]);
        return;
      }
    },
  };
}
