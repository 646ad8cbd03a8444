import code from '../../../shaders/matvec.wgsl?raw';
import { bindKernel, dispatchKernel, spreadWorkgroups } from '../kernel.ts';
import type { KernelCompiler, KernelSource } from '../kernel.ts';
import type { StepKernel } from '../step.ts';
import {
  checkLinear,
  checkLinearStep,
  LINEAR_BINDINGS,
  linearBindings,
  linearOverrides,
  linearRows,
} from './linear-shape.ts';
import type { LinearBuffers, LinearShape } from './linear-shape.ts';
import { WEIGHTS_CODE } from './weights.ts';

const source: KernelSource = { name: 'matvec', code: WEIGHTS_CODE + code, bindings: LINEAR_BINDINGS };

/** Output features a team computes: the components of a vec4. */
const TEAM_FEATURES = 4;
/** Rows that share one read of the weights, when there is more than one. */
const INPUT_ROWS = 4;
const WORKGROUP_INVOCATIONS = 64;
/** Octets per lane to aim at, so that the loop, not the sum over lanes, is the work. */
const OCTETS_PER_LANE = 4;
const MIN_LANES = 4;
const MAX_LANES = 64;

/**
 * For few rows; reads the weights once per `INPUT_ROWS` rows.
 * @throws SkeinError `bad-argument` for sizes that do not fit, here and at `encode`.
 */
export async function createMatvec(
  compiler: KernelCompiler,
  shape: LinearShape,
  buffers: LinearBuffers,
): Promise<StepKernel> {
  const { name } = source;
  checkLinear(name, shape, buffers);
  const lanes = teamLanes(shape.inFeatures);
  const teams = WORKGROUP_INVOCATIONS / lanes;
  const bind = async (inputRows: number) => {
    const overrides = {
      ...linearOverrides(shape, buffers.bias !== null),
      input_rows: inputRows,
      lanes,
      teams,
    };
    return bindKernel(compiler.device, await compiler.compile(source, overrides), linearBindings(buffers));
  };
  const [oneRow, manyRows] = await Promise.all([bind(1), bind(INPUT_ROWS)]);
  const [x, y] = spreadWorkgroups(Math.ceil(shape.outFeatures / (teams * TEAM_FEATURES)));
  return {
    name,
    encode: (pass, step) => {
      const rows = linearRows(shape, step);
      if (rows === 0) return;
      checkLinearStep(name, shape, buffers, rows);
      if (rows === 1) dispatchKernel(pass, oneRow, [x, y]);
      else dispatchKernel(pass, manyRows, [x, y, Math.ceil(rows / INPUT_ROWS)]);
    },
  };
}

/** A power of two. */
function teamLanes(inFeatures: number): number {
  let lanes = MIN_LANES;
  while (lanes < MAX_LANES && lanes * OCTETS_PER_LANE * 8 < inFeatures) lanes *= 2;
  return lanes;
}
