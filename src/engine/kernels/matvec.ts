import code from '../../../shaders/matvec.wgsl?raw';
import { bindKernel, dispatchKernel, spreadWorkgroups } from '../kernel.ts';
import type { KernelCompiler, KernelSource } from '../kernel.ts';
import type { StepKernel } from '../step.ts';
import { FORMAT_CODE } from '../weight-format.ts';
import { checkLinear, checkLinearStep, LINEAR_BINDINGS, linearBindings, linearRows } from './linear-shape.ts';
import type { LinearBuffers, LinearShape } from './linear-shape.ts';
import { WEIGHTS_CODE } from './weights.ts';

const source: KernelSource = { name: 'matvec', code: WEIGHTS_CODE + code, bindings: LINEAR_BINDINGS };

/** Output features a team computes: the components of a vec4. */
const TEAM_FEATURES = 4;
/** Rows that share one read of the weights, when there is more than one. */
const INPUT_ROWS = 4;
/** Two are enough to keep a core busy next to other workgroups; software adapters pay for every invocation that meets a barrier. */
const TEAMS = 2;
/** Lanes of a team where the adapter does not tell its subgroup size. */
const DEFAULT_LANES = 32;
/** A team has a lane to finish each of `INPUT_ROWS` rows, and no more than half of the 64 invocations of a portable workgroup. */
const MIN_LANES = 4;
const MAX_LANES = 32;

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
  const lanes = teamLanes(compiler.device, shape.inFeatures);
  const bindings = linearBindings(compiler.device, shape, buffers);
  const bind = async (inputRows: number) => {
    const kernel = await compiler.compile(source, {
      weight_format: FORMAT_CODE[shape.format],
      input_rows: inputRows,
      lanes,
      teams: TEAMS,
    });
    return bindKernel(compiler.device, kernel, bindings);
  };
  const [oneRow, manyRows] = await Promise.all([bind(1), bind(INPUT_ROWS)]);
  const [x, y] = spreadWorkgroups(Math.ceil(shape.outFeatures / (TEAMS * TEAM_FEATURES)));
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

/** A team is a subgroup, which runs in step on the hardware; a power of two. Narrower where rows are so short that lanes would idle. */
function teamLanes(device: GPUDevice, inFeatures: number): number {
  const subgroup = device.adapterInfo.subgroupMinSize || DEFAULT_LANES;
  const octets = inFeatures / 8;
  let lanes = MIN_LANES;
  while (lanes < MAX_LANES && lanes < subgroup && lanes < octets) lanes *= 2;
  return lanes;
}
