import { SkeinError } from '../protocol/errors.ts';

/** What the device must have been asked for: see `requestEngineDevice`. */
export const PROFILER_FEATURE: GPUFeatureName = 'timestamp-query';

/** One dispatch of a step, timed by the GPU. */
export interface DispatchTime {
  /** Label of the pipeline: the kernel and its variant. */
  readonly kernel: string;
  readonly workgroups: readonly [x: number, y: number, z: number];
  readonly ms: number;
}

type Dispatch = Omit<DispatchTime, 'ms'>;

/** What a step needs of a compute pass. */
export type StepPass = Pick<
  GPUComputePassEncoder,
  'setPipeline' | 'setBindGroup' | 'dispatchWorkgroups' | 'end'
>;

/** WebGPU's largest query set, two timestamps per dispatch. */
const MAX_QUERIES = 4096;
const QUERY_BYTES = 8;
const NANOSECONDS_PER_MS = 1e6;

/**
 * Times every dispatch of a step by running it in a compute pass of its own, with a timestamp on both sides. A pass costs more than a
 * dispatch, so a profiled step is slower than a plain one; its kernels are not. Browsers round timestamps, Chromium to 0.1 ms.
 * One step at a time: encode, submit, `times`. The owner disposes.
 */
export class StepProfiler {
  readonly #queries: GPUQuerySet;
  readonly #resolved: GPUBuffer;
  readonly #staging: GPUBuffer;
  #dispatches: readonly Dispatch[] = [];

  /** @throws SkeinError `bad-argument` for a device without timestamps. */
  constructor(device: GPUDevice) {
    if (!device.features.has(PROFILER_FEATURE)) {
      throw new SkeinError(
        'bad-argument',
        `The GPU device was opened without "${PROFILER_FEATURE}". Ask for it, if the adapter has it.`,
      );
    }
    this.#queries = device.createQuerySet({ label: 'profiler', type: 'timestamp', count: MAX_QUERIES });
    const size = MAX_QUERIES * QUERY_BYTES;
    this.#resolved = device.createBuffer({
      label: 'profiler',
      size,
      usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC,
    });
    this.#staging = device.createBuffer({
      label: 'profiler read_back',
      size,
      usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ,
    });
  }

  /** What a step is encoded into instead of a compute pass. It refuses, with `bad-argument`, a dispatch too many. */
  begin(encoder: GPUCommandEncoder): StepPass {
    const pass = new ProfiledPass(encoder, this.#queries, this.#resolved, this.#staging);
    this.#dispatches = pass.dispatches;
    return pass;
  }

  /** Of the step that was submitted last, in order. Waits for it. */
  async times(): Promise<DispatchTime[]> {
    const dispatches = this.#dispatches;
    if (dispatches.length === 0) return [];
    await this.#staging.mapAsync(GPUMapMode.READ, 0, dispatches.length * 2 * QUERY_BYTES);
    const stamps = new BigUint64Array(
      this.#staging.getMappedRange(0, dispatches.length * 2 * QUERY_BYTES).slice(0),
    );
    this.#staging.unmap();
    return dispatches.map((dispatch, index) => {
      const elapsedNs = (stamps[2 * index + 1] ?? 0n) - (stamps[2 * index] ?? 0n);
      return { ...dispatch, ms: Number(elapsedNs) / NANOSECONDS_PER_MS };
    });
  }

  dispose(): void {
    this.#queries.destroy();
    this.#resolved.destroy();
    this.#staging.destroy();
  }
}

/** Keeps what is set, and sets it in a pass of its own at each dispatch. */
class ProfiledPass implements StepPass {
  readonly dispatches: Dispatch[] = [];
  readonly #bindGroups = new Map<number, GPUBindGroup | null>();
  #pipeline: GPUComputePipeline | null = null;

  constructor(
    private readonly encoder: GPUCommandEncoder,
    private readonly queries: GPUQuerySet,
    private readonly resolved: GPUBuffer,
    private readonly staging: GPUBuffer,
  ) {}

  setPipeline(pipeline: GPUComputePipeline): undefined {
    this.#pipeline = pipeline;
  }

  setBindGroup(index: number, bindGroup: GPUBindGroup | null | undefined): undefined {
    this.#bindGroups.set(index, bindGroup ?? null);
  }

  dispatchWorkgroups(x: number, y = 1, z = 1): undefined {
    const first = this.dispatches.length * 2;
    if (this.#pipeline === null || first + 2 > MAX_QUERIES) {
      throw new SkeinError('bad-argument', `A profiled step has at most ${MAX_QUERIES / 2} dispatches.`);
    }
    const pass = this.encoder.beginComputePass({
      timestampWrites: {
        querySet: this.queries,
        beginningOfPassWriteIndex: first,
        endOfPassWriteIndex: first + 1,
      },
    });
    pass.setPipeline(this.#pipeline);
    for (const [index, bindGroup] of this.#bindGroups) pass.setBindGroup(index, bindGroup);
    pass.dispatchWorkgroups(x, y, z);
    pass.end();
    this.dispatches.push({ kernel: this.#pipeline.label, workgroups: [x, y, z] });
  }

  end(): undefined {
    const count = this.dispatches.length * 2;
    if (count === 0) return;
    this.encoder.resolveQuerySet(this.queries, 0, count, this.resolved, 0);
    this.encoder.copyBufferToBuffer(this.resolved, 0, this.staging, 0, count * QUERY_BYTES);
  }
}

/** What the dispatches of one kernel with one grid took together: in a layer, the grid tells one projection from another. */
export interface KernelTime {
  readonly kernel: string;
  /** Such as `96 × 1 × 1`. */
  readonly workgroups: string;
  /** Per step. */
  readonly dispatches: number;
  /** Per step, over all its dispatches. */
  readonly ms: number;
  /** Of the time of all kernels, 0 to 1. */
  readonly share: number;
}

/** Averages over steps that did the same. @returns the slowest first */
export function summarizeTimes(steps: readonly (readonly DispatchTime[])[]): KernelTime[] {
  const totals = new Map<string, { kernel: string; workgroups: string; dispatches: number; ms: number }>();
  for (const { kernel, workgroups, ms } of steps.flat()) {
    const grid = workgroups.join(' × ');
    const key = `${kernel} ${grid}`;
    const total = totals.get(key) ?? { kernel, workgroups: grid, dispatches: 0, ms: 0 };
    total.dispatches += 1;
    total.ms += ms;
    totals.set(key, total);
  }
  const sumMs = [...totals.values()].reduce((sum, { ms }) => sum + ms, 0);
  return [...totals.values()]
    .map(({ dispatches, ms, ...of }) => ({
      ...of,
      dispatches: dispatches / steps.length,
      ms: ms / steps.length,
      share: sumMs > 0 ? ms / sumMs : 0,
    }))
    .sort((a, b) => b.ms - a.ms);
}
