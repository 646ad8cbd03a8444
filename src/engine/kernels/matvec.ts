import inputCode from '../../../shaders/input_vectors.wgsl?raw';
import code from '../../../shaders/matvec.wgsl?raw';
import int8Code from '../../../shaders/matvec_int8.wgsl?raw';
import int8MemoryCode from '../../../shaders/int8_memory.wgsl?raw';
import int8ShuffledCode from '../../../shaders/int8_shuffled.wgsl?raw';
import memoryCode from '../../../shaders/team_memory.wgsl?raw';
import subgroupCode from '../../../shaders/team_subgroup.wgsl?raw';
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
import { OCTET } from './weights.ts';

const NAME = 'matvec';
/** Rows that share one read of the weights, when there is more than one. */
const INPUT_ROWS = 4;
/** Teams of a workgroup: enough to keep a core busy next to other workgroups. */
const TEAMS = 2;
/** A workgroup of a portable size holds two such teams. */
const MAX_LANES = 32;

/**
 * For few rows on a GPU; reads the weights once per `INPUT_ROWS` rows.
 * @throws SkeinError `bad-argument` for sizes that do not fit, here and at `encode`.
 */
export async function createMatvec(
  compiler: KernelCompiler,
  shape: LinearShape,
  buffers: LinearBuffers,
): Promise<StepKernel> {
  checkLinear(NAME, shape, buffers);
  const text = textOf(shape, compiler.tuning);
  const lanes = teamLanes(compiler.tuning.subgroupSize, shape.inFeatures);
  const bindings = linearBindings(compiler.device, shape, buffers);
  const bind = async (inputRows: number) => {
    const overrides = { input_rows: inputRows, lanes, teams: TEAMS };
    const kernel = await compileLinear(compiler, text, shape, overrides);
    return bindKernel(compiler.device, kernel, bindings);
  };
  const [oneRow, manyRows] = await Promise.all([bind(1), bind(INPUT_ROWS)]);
  const [x, y] = spreadWorkgroups(Math.ceil(shape.outFeatures / (TEAMS * QUAD_FEATURES)));
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

function textOf({ activations }: LinearShape, tuning: Tuning): LinearKernelText {
  const { usesSubgroups } = tuning;
  const teamCode = usesSubgroups ? subgroupCode : memoryCode;
  if (activations !== 'int8') return { name: NAME, code: inputCode + teamCode + code, usesSubgroups };
  const groupCode = usesSubgroups ? int8ShuffledCode : int8MemoryCode;
  return int8Text(NAME, groupCode + teamCode + int8Code, tuning, usesSubgroups);
}

/** A team is a subgroup, narrower only where rows are so short that lanes would idle. */
function teamLanes(subgroupSize: number, inFeatures: number): number {
  let lanes = 1;
  while (lanes < MAX_LANES && lanes < subgroupSize && lanes < inFeatures / OCTET) lanes *= 2;
  return lanes;
}
