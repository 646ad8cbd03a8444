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
/** Rows that share one read of the weights, when there is more than one. With 8 it is no faster, and takes twice as long to compile. */
const INPUT_ROWS = 4;

/**
 * For any number of rows on a processor that plays a GPU; reads the weights once per `INPUT_ROWS` rows.
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
  const bind = async (inputRows: number) => {
    const kernel = await compileLinear(compiler, text, shape, { input_rows: inputRows, lanes: LANES });
    return bindKernel(compiler.device, kernel, bindings);
  };
  const [oneRow, manyRows] = await Promise.all([bind(1), bind(INPUT_ROWS)]);
  const [x, y] = spreadWorkgroups(Math.ceil(shape.outFeatures / (LANES * QUAD_FEATURES)));
  return {
    name: NAME,
    encode: (pass, step) => {
      const rows = linearRows(shape, step);
      if (rows === 0) return;
      checkLinearStep(NAME, shape, buffers, step);
      if (rows === 1) dispatchKernel(pass, oneRow, [x, y]);
      else dispatchKernel(pass, manyRows, [x, y, Math.ceil(rows / INPUT_ROWS)]);
    },
  };
}
