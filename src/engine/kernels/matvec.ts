import code from '../../../shaders/matvec.wgsl?raw';
import { bindKernel, dispatchKernel, spreadWorkgroups } from '../kernel.ts';
import type { KernelCompiler, KernelSource } from '../kernel.ts';
import type { StepKernel } from '../step.ts';
import type { Tuning } from '../tuning.ts';
import { FORMAT_CODE } from '../weight-format.ts';
import { checkLinear, checkLinearStep, LINEAR_BINDINGS, linearBindings, linearRows } from './linear-shape.ts';
import type { LinearBuffers, LinearShape } from './linear-shape.ts';
import { WEIGHTS_CODE } from './weights.ts';

const source: KernelSource = { name: 'matvec', code: WEIGHTS_CODE + code, bindings: LINEAR_BINDINGS };

/** Weights of one load, as in weights.wgsl. */
const OCTET = 8;
/** Output features a team computes: the components of a vec4. */
const TEAM_FEATURES = 4;
/** Rows that share one read of the weights, when there is more than one. */
const INPUT_ROWS = 4;
/** Teams of a workgroup: enough to keep a core busy next to other workgroups. */
const TEAMS = 2;
/** A workgroup of a portable size holds two such teams. */
const MAX_LANES = 32;
/** On a CPU a team is one invocation, and as many run as a wide vector register holds: twice as fast as any other layout, measured. */
const SOFTWARE_TEAMS = 8;

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
  const { lanes, teams } = teamLayout(compiler.tuning, shape.inFeatures);
  const bindings = linearBindings(compiler.device, shape, buffers);
  const bind = async (inputRows: number) => {
    const kernel = await compiler.compile(source, {
      weight_format: FORMAT_CODE[shape.format],
      input_rows: inputRows,
      lanes,
      teams,
    });
    return bindKernel(compiler.device, kernel, bindings);
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

/** On a GPU a team is a subgroup, narrower only where rows are so short that lanes would idle. */
function teamLayout(
  { subgroupSize, isSoftware }: Tuning,
  inFeatures: number,
): { lanes: number; teams: number } {
  if (isSoftware) return { lanes: 1, teams: SOFTWARE_TEAMS };
  const octets = inFeatures / OCTET;
  let lanes = 1;
  while (lanes < MAX_LANES && lanes < subgroupSize && lanes < octets) lanes *= 2;
  return { lanes, teams: TEAMS };
}
