import linearCode from '../../../shaders/linear.wgsl?raw';
import subgroupsCode from '../../../shaders/subgroups.wgsl?raw';
import type { Activations } from '../../protocol/activations.ts';
import { SkeinError } from '../../protocol/errors.ts';
import type { CompiledKernel, KernelCompiler } from '../kernel.ts';
import type { StepShape } from '../step.ts';
import { checkBytes, checkSize } from './checks.ts';
import { takesInt8 } from '../weight-format.ts';
import { checkWeights, OCTET, weightSource } from './weights.ts';
import type { WeightBuffers, WeightShape } from './weights.ts';

/**
 * What becomes of the finished sums. `store`: the output. `add`: added to it, as a branch is to the residual stream.
 * `swiglu`: the matrix is gate on top of up, and the output silu(gate) · up, half as wide.
 */
export type Epilogue = 'store' | 'add' | 'swiglu';

/** As in linear.wgsl. */
const EPILOGUE_CODE: Readonly<Record<Epilogue, number>> = { store: 0, add: 1, swiglu: 2 };

/** output = input × weightsᵀ (+ bias), for all rows of a step or only those of the head. */
export interface LinearShape extends WeightShape {
  /** Columns of `output`; more than this part fills when several parts of a matrix fill it side by side. */
  readonly outStride: number;
  /** First column of `output` that this part fills. */
  readonly outOffset: number;
  /** `head`: row i of the output belongs to the input row that `headInfo` has at i. */
  readonly rowsOf: 'step' | 'head';
  /** Not null: the map is of RMSNorm(input) with this epsilon and the weights `gain`. */
  readonly normEpsilon: number | null;
  readonly epilogue: Epilogue;
  /** `int8`: the input, or with a norm input · gain, is rounded in groups. The format must take it (`takesInt8`). `f32` by default. */
  readonly activations?: Activations;
}

/** A map of all rows of a step into an output of its own, with nothing fused. */
export function plainLinear({ format, inFeatures, outFeatures }: WeightShape): LinearShape {
  return {
    format,
    inFeatures,
    outFeatures,
    outStride: outFeatures,
    outOffset: 0,
    rowsOf: 'step',
    normEpsilon: null,
    epilogue: 'store',
  };
}

export interface LinearBuffers extends WeightBuffers {
  readonly step: GPUBuffer;
  /** f32 [rows, inFeatures]. */
  readonly input: GPUBuffer;
  /** f32 [inFeatures], weights of the norm; null without one. */
  readonly gain: GPUBuffer | null;
  /** f32 [outStride], or null. */
  readonly bias: GPUBuffer | null;
  /** u32 [head rows]; null when the map is of all rows. */
  readonly headInfo: GPUBuffer | null;
  /** f32 [rows, outStride]. */
  readonly output: GPUBuffer;
}

/** Bindings of all kernels of linear maps, in order: seven storage buffers of the eight that every GPU binds. */
const LINEAR_BINDINGS = {
  weights: 'read',
  scales: 'read',
  step: 'uniform',
  sizes: 'uniform',
  input: 'read',
  gain: 'read',
  bias: 'read',
  head_info: 'read',
  output: 'read-write',
} as const;

/** Output features that a kernel computes together: the components of a vec4. */
export const QUAD_FEATURES = 4;

/** Eight words. */
const SIZES_BYTES = 32;

/** What a kernel of linear maps is put together from, beside what they share. */
export interface LinearKernelText {
  readonly name: string;
  readonly code: string;
  /** The text begins with `enable subgroups`. */
  readonly usesSubgroups: boolean;
}

/** Compiles a kernel for the weights' format, the norm and the epilogue of a shape. */
export function compileLinear(
  compiler: KernelCompiler,
  { name, code, usesSubgroups }: LinearKernelText,
  { format, normEpsilon, epilogue }: LinearShape,
  overrides: Readonly<Record<string, number>> = {},
): Promise<CompiledKernel> {
  const weights = weightSource(format, compiler.tuning);
  return compiler.compile(
    {
      name: `${name} ${weights.name}${usesSubgroups ? ' subgroups' : ''}`,
      code: weights.enables + (usesSubgroups ? subgroupsCode : '') + weights.code + linearCode + code,
      bindings: LINEAR_BINDINGS,
    },
    {
      ...weights.overrides,
      normed: normEpsilon === null ? 0 : 1,
      epilogue: EPILOGUE_CODE[epilogue],
      ...overrides,
    },
  );
}

/** Columns of the output that a map fills. */
export function outputColumns({ outFeatures, epilogue }: LinearShape): number {
  return epilogue === 'swiglu' ? outFeatures / 2 : outFeatures;
}

/** @throws SkeinError `bad-argument` naming the size that does not fit. */
export function checkLinear(kernel: string, shape: LinearShape, buffers: LinearBuffers): void {
  const { inFeatures, outFeatures, outStride, outOffset, epilogue, rowsOf, normEpsilon } = shape;
  const { bias, gain, headInfo } = buffers;
  checkWeights(kernel, shape, buffers);
  if (shape.activations === 'int8' && !takesInt8(shape.format)) {
    throw new SkeinError(
      'bad-argument',
      `Kernel ${kernel}: int8 activations need weights of 4- or 8-bit codes in groups of a multiple of 32, not ${JSON.stringify(shape.format)}.`,
      { data: { kernel, name: 'activations' } },
    );
  }
  if (epilogue === 'swiglu') checkSize(kernel, 'outFeatures', outFeatures, { multipleOf: 2 });
  const columns = outputColumns(shape);
  checkSize(kernel, 'outOffset', outOffset, { min: 0 });
  checkSize(kernel, 'outStride', outStride, { min: outOffset + columns });
  if (bias !== null) {
    checkBytes(kernel, 'bias', bias, (outOffset + columns) * Float32Array.BYTES_PER_ELEMENT);
  }
  if (normEpsilon !== null) {
    checkBytes(kernel, 'gain', gain, inFeatures * Float32Array.BYTES_PER_ELEMENT);
  }
  if (epilogue === 'swiglu' && bias !== null) {
    throw new SkeinError('bad-argument', `Kernel ${kernel}: gate and up have no bias.`);
  }
  if (rowsOf === 'head') checkBytes(kernel, 'head_info', headInfo, 0);
}

/** @throws SkeinError `bad-argument` for a step that does not fit the buffers. */
export function checkLinearStep(
  kernel: string,
  shape: LinearShape,
  { input, output, headInfo }: LinearBuffers,
  step: StepShape,
): void {
  const rows = linearRows(shape, step);
  checkBytes(kernel, 'input', input, step.rows * shape.inFeatures * Float32Array.BYTES_PER_ELEMENT);
  checkBytes(kernel, 'output', output, rows * shape.outStride * Float32Array.BYTES_PER_ELEMENT);
  if (shape.rowsOf === 'head') {
    checkBytes(kernel, 'head_info', headInfo, rows * Uint32Array.BYTES_PER_ELEMENT);
  }
}

/**
 * @param device makes the `sizes` uniform; it is freed with the kernel bound to it.
 * @returns what kernels of linear maps bind.
 */
export function linearBindings(
  device: GPUDevice,
  shape: LinearShape,
  buffers: LinearBuffers,
): Record<keyof typeof LINEAR_BINDINGS, GPUBuffer> {
  const words = new Uint32Array(SIZES_BYTES / Uint32Array.BYTES_PER_ELEMENT);
  words.set([
    shape.inFeatures,
    shape.outFeatures,
    shape.outStride,
    shape.outOffset,
    buffers.bias === null ? 0 : 1,
    shape.rowsOf === 'head' ? 1 : 0,
  ]);
  new Float32Array(words.buffer)[6] = shape.normEpsilon ?? 0;
  words[7] = (typeof shape.format === 'string' ? shape.inFeatures : shape.format.groupSize) / OCTET;
  const sizes = device.createBuffer({
    label: 'sizes',
    size: SIZES_BYTES,
    usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
  });
  device.queue.writeBuffer(sizes, 0, words);
  const { weights, scales, step, input, gain, bias, headInfo, output } = buffers;
  // Every binding needs a buffer; one that is switched off is never read.
  return {
    weights,
    scales: scales ?? weights,
    step,
    sizes,
    input,
    gain: gain ?? weights,
    bias: bias ?? weights,
    head_info: headInfo ?? weights,
    output,
  };
}

export function linearRows(shape: LinearShape, step: StepShape): number {
  return shape.rowsOf === 'head' ? step.headRows : step.rows;
}
