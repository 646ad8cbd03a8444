import code from '../../../shaders/swiglu.wgsl?raw';
import { bindKernel, dispatchKernel } from '../kernel.ts';
import type { KernelCompiler, KernelSource } from '../kernel.ts';
import type { StepKernel } from '../step.ts';
import { checkBytes, checkSize } from './checks.ts';

const source: KernelSource = {
  name: 'swiglu',
  code,
  bindings: { gate_up: 'read', activated: 'read-write' },
};

const QUAD = 4;
const WORKGROUP_QUADS = 64;

export interface SwigluBuffers {
  /** f32 [rows, 2 · size]: gate, then up. */
  readonly gateUp: GPUBuffer;
  /** f32 [rows, size]. */
  readonly activated: GPUBuffer;
}

/**
 * @param shape the intermediate size; a multiple of 4.
 * @throws SkeinError `bad-argument` for sizes that do not fit, here and at `encode`.
 */
export async function createSwiglu(
  compiler: KernelCompiler,
  { size }: { readonly size: number },
  { gateUp, activated }: SwigluBuffers,
): Promise<StepKernel> {
  const { name } = source;
  checkSize(name, 'size', size, { multipleOf: QUAD });
  const kernel = await compiler.compile(source, { size });
  const bound = bindKernel(compiler.device, kernel, { gate_up: gateUp, activated });
  const rowBytes = size * Float32Array.BYTES_PER_ELEMENT;
  const workgroupsPerRow = Math.ceil(size / QUAD / WORKGROUP_QUADS);
  return {
    name,
    encode: (pass, step) => {
      if (step.rows === 0) return;
      checkBytes(name, 'gate_up', gateUp, 2 * step.rows * rowBytes);
      checkBytes(name, 'activated', activated, step.rows * rowBytes);
      dispatchKernel(pass, bound, [workgroupsPerRow, step.rows]);
    },
  };
}
