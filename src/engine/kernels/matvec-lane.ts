import int8EightsCode from '../../../shaders/int8_eights.wgsl?raw';
import int8QuadsCode from '../../../shaders/int8_quads.wgsl?raw';
import int8VectorsCode from '../../../shaders/int8_vectors.wgsl?raw';
import eightsCode from '../../../shaders/lane_eights.wgsl?raw';
import quadsCode from '../../../shaders/lane_quads.wgsl?raw';
import vectorsCode from '../../../shaders/lane_vectors.wgsl?raw';
import code from '../../../shaders/matvec_lane.wgsl?raw';
import int8Code from '../../../shaders/matvec_lane_int8.wgsl?raw';
import { bindKernel, dispatchKernel, spreadWorkgroups } from '../kernel.ts';
import type { KernelCompiler } from '../kernel.ts';
import type { StepKernel } from '../step.ts';
import type { Tuning } from '../tuning.ts';
import { int8Text } from './int8-input.ts';
import {
  checkLinear,
  checkLinearStep,
  compileLinear,
  linearBindings,
  linearRows,
  QUAD_FEATURES,
} from './linear-shape.ts';
import type { LinearBuffers, LinearKernelText, LinearShape } from './linear-shape.ts';

const NAME = 'matvec_lane';
/** Invocations of a workgroup: with fewer, starting workgroups shows on SwiftShader. */
const LANES = 32;
/** Subgroups that share the input eight ways, and then gain from 8 rows per read of the weights; others only compile twice as long. */
const EIGHTS = 8;
/** Rows that share one read of the weights, fewest first. */
const INPUT_ROWS = [1, 4] as const;
const INPUT_ROWS_OF_EIGHTS = [1, 4, 8] as const;

/**
 * For any number of rows on a processor that plays a GPU; reads the weights once per 4 or 8 rows.
 * @throws SkeinError `bad-argument` for sizes that do not fit, here and at `encode`.
 */
export async function createMatvecLane(
  compiler: KernelCompiler,
  shape: LinearShape,
  buffers: LinearBuffers,
): Promise<StepKernel> {
  checkLinear(NAME, shape, buffers);
  const text = textOf(shape, compiler.tuning);
  const bindings = linearBindings(compiler.device, shape, buffers);
  const kernels = await Promise.all(
    inputRowsOf(shape, compiler.tuning).map(async (inputRows) => {
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
      const kernel = kernels.find(({ inputRows }) => inputRows >= rows) ?? kernels.at(-1);
      if (kernel === undefined) return;
      dispatchKernel(pass, kernel.bound, [x, y, Math.ceil(rows / kernel.inputRows)]);
    },
  };
}

function sharesEightWays({ usesSubgroups, subgroupSize }: Tuning): boolean {
  return usesSubgroups && subgroupSize >= EIGHTS;
}

function textOf({ activations }: LinearShape, tuning: Tuning): LinearKernelText {
  const { usesSubgroups } = tuning;
  const usesEights = sharesEightWays(tuning);
  const name = usesEights ? `${NAME} eights` : NAME;
  if (activations === 'int8') {
    const subgroupCode = usesEights ? int8EightsCode : int8QuadsCode;
    const sharingCode = usesSubgroups ? subgroupCode : int8VectorsCode;
    return int8Text(name, sharingCode + int8Code, tuning, usesSubgroups);
  }
  const subgroupCode = usesEights ? eightsCode : quadsCode;
  return { name, code: (usesSubgroups ? subgroupCode : vectorsCode) + code, usesSubgroups };
}

/** With int8 input, kernels of more rows than these would compile for ten seconds and more. */
function inputRowsOf({ activations }: LinearShape, tuning: Tuning): readonly number[] {
  if (activations === 'int8') return tuning.usesSubgroups ? INPUT_ROWS : [1];
  return sharesEightWays(tuning) ? INPUT_ROWS_OF_EIGHTS : INPUT_ROWS;
}
