import { SkeinError } from '../protocol/errors.ts';
import { tuningOf } from './tuning.ts';
import type { Tuning } from './tuning.ts';

export type BindingKind = 'uniform' | 'read' | 'read-write';

/** One `.wgsl` file: `main`, its bindings 0, 1, … of group 0 in order, and the names they have in messages. */
export interface KernelSource {
  readonly name: string;
  readonly code: string;
  readonly bindings: Readonly<Record<string, BindingKind>>;
}

/** A kernel specialised by its overrides. */
export interface CompiledKernel {
  readonly source: KernelSource;
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

/** A kernel with its buffers: made once per slice, dispatched every step. */
export interface BoundKernel {
  readonly name: string;
  readonly pipeline: GPUComputePipeline;
  readonly bindGroup: GPUBindGroup;
}

const BUFFER_TYPES: Readonly<Record<BindingKind, GPUBufferBindingType>> = {
  uniform: 'uniform',
  read: 'read-only-storage',
  'read-write': 'storage',
};

const compilers = new WeakMap<GPUDevice, KernelCompiler>();

/** Compiles kernels for one device; the same kernel with the same overrides is compiled once. */
export class KernelCompiler {
  readonly #compiled = new Map<string, Promise<CompiledKernel>>();

  /** @param tuning how kernels are laid out; tests choose one that the adapter would not. */
  constructor(
    readonly device: GPUDevice,
    readonly tuning: Tuning = tuningOf(device),
  ) {}

  /** The compiler that everything on a device shares: slices of one model have the same kernels. */
  static of(device: GPUDevice): KernelCompiler {
    const compiler = compilers.get(device) ?? new KernelCompiler(device);
    compilers.set(device, compiler);
    return compiler;
  }

  /** Gives a device the layout that was measured to be the fastest, for slices that are loaded from now on. */
  static tune(device: GPUDevice, tuning: Tuning): void {
    compilers.set(device, new KernelCompiler(device, tuning));
  }

  /** @param overrides values of the WGSL `override` constants. @throws SkeinError `internal` with the compiler's words. */
  compile(source: KernelSource, overrides: Readonly<Record<string, number>> = {}): Promise<CompiledKernel> {
    const key = JSON.stringify([source.name, Object.entries(overrides).sort()]);
    const known = this.#compiled.get(key);
    if (known !== undefined) return known;
    const compiled = this.#compile(source, overrides);
    this.#compiled.set(key, compiled);
    return compiled;
  }

  async #compile(source: KernelSource, constants: Readonly<Record<string, number>>): Promise<CompiledKernel> {
    const { device } = this;
    const layout = device.createBindGroupLayout({
      label: source.name,
      entries: Object.values(source.bindings).map((kind, binding) => ({
        binding,
        visibility: GPUShaderStage.COMPUTE,
        buffer: { type: BUFFER_TYPES[kind] },
      })),
    });
    try {
      const pipeline = await device.createComputePipelineAsync({
        label: source.name,
        layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
        compute: {
          module: device.createShaderModule({ label: source.name, code: source.code }),
          entryPoint: 'main',
          constants: { ...constants },
        },
      });
      return { source, pipeline, layout };
    } catch (cause) {
      throw new SkeinError(
        'internal',
        `Kernel ${source.name} does not compile with ${JSON.stringify(constants)}: ${cause instanceof Error ? cause.message : String(cause)}`,
        { cause },
      );
    }
  }
}

/**
 * The one place where buffers meet a kernel.
 * @param buffers by the binding names of the kernel's source.
 * @throws SkeinError `bad-argument` for a missing, unknown or too large buffer.
 */
export function bindKernel(
  device: GPUDevice,
  kernel: CompiledKernel,
  buffers: Readonly<Record<string, GPUBuffer>>,
): BoundKernel {
  const { name, bindings } = kernel.source;
  const unknown = Object.keys(buffers).filter((binding) => !(binding in bindings));
  if (unknown.length > 0) {
    throw new SkeinError('bad-argument', `Kernel ${name} has no binding ${unknown.join(', ')}.`);
  }
  const entries = Object.entries(bindings).map(([binding, kind], index) => {
    const buffer = buffers[binding];
    if (buffer === undefined) {
      throw new SkeinError('bad-argument', `Kernel ${name} was bound without a buffer for ${binding}.`);
    }
    const limit =
      kind === 'uniform'
        ? device.limits.maxUniformBufferBindingSize
        : device.limits.maxStorageBufferBindingSize;
    if (buffer.size > limit) {
      throw new SkeinError(
        'bad-argument',
        `Kernel ${name}: ${binding} has ${buffer.size} bytes and this GPU binds at most ${limit}.`,
        { data: { kernel: name, binding, sizeBytes: buffer.size, limitBytes: limit } },
      );
    }
    return { binding: index, resource: { buffer } };
  });
  return {
    name,
    pipeline: kernel.pipeline,
    bindGroup: device.createBindGroup({ label: name, layout: kernel.layout, entries }),
  };
}

/** What encoding a kernel needs of a compute pass. */
export type DispatchPass = Pick<GPUComputePassEncoder, 'setPipeline' | 'setBindGroup' | 'dispatchWorkgroups'>;

/** Counts what is really dispatched. */
export class CountingPass implements DispatchPass {
  #dispatchCount = 0;

  constructor(private readonly pass: DispatchPass) {}

  get dispatchCount(): number {
    return this.#dispatchCount;
  }

  setPipeline(pipeline: GPUComputePipeline): undefined {
    this.pass.setPipeline(pipeline);
  }

  setBindGroup(index: number, bindGroup: GPUBindGroup | null): undefined {
    this.pass.setBindGroup(index, bindGroup);
  }

  dispatchWorkgroups(x: number, y?: number, z?: number): undefined {
    this.#dispatchCount += 1;
    this.pass.dispatchWorkgroups(x, y, z);
  }
}

/** Workgroups per dimension. WebGPU's default limit, which every adapter has; more are silently dropped by some drivers. */
const MAX_WORKGROUPS_PER_DIMENSION = 65_535;

/** The one place where kernels are launched. @throws SkeinError `bad-argument` for an empty or oversized grid. */
export function dispatchKernel(
  pass: DispatchPass,
  kernel: BoundKernel,
  grid: readonly [x: number, y?: number, z?: number],
): void {
  const [x, y = 1, z = 1] = grid;
  for (const size of [x, y, z]) {
    if (!Number.isInteger(size) || size < 1 || size > MAX_WORKGROUPS_PER_DIMENSION) {
      throw new SkeinError(
        'bad-argument',
        `Kernel ${kernel.name}: a grid of ${x} × ${y} × ${z} workgroups; each must be 1 to ${MAX_WORKGROUPS_PER_DIMENSION}.`,
      );
    }
  }
  pass.setPipeline(kernel.pipeline);
  pass.setBindGroup(0, kernel.bindGroup);
  pass.dispatchWorkgroups(x, y, z);
}

/** A grid of at least `count` workgroups, two-dimensional only when one dimension cannot hold them. */
export function spreadWorkgroups(count: number): [x: number, y: number] {
  const y = Math.ceil(count / MAX_WORKGROUPS_PER_DIMENSION);
  return [Math.ceil(count / y), y];
}
