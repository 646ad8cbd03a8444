import { Executor } from '../engine/executor.ts';
import type { ExecutorStats } from '../engine/executor.ts';
import type { EngineDevice } from '../engine/device.ts';
import { GpuSlice } from '../engine/gpu-slice.ts';
import type { KernelCompiler } from '../engine/kernel.ts';
import type { CacheFormat } from '../engine/kernels/attention-shape.ts';
import type { StepTrace } from '../engine/step-trace.ts';
import type { Precision } from '../engine/weight-format.ts';
import { constraintsOf } from '../grammar/constraint-compiler.ts';
import type { Constraints } from '../grammar/constraint-compiler.ts';
import { LocalHub } from '../mesh/local-hub.ts';
import { ServedStage } from '../mesh/served-stage.ts';
import type { SliceRange } from '../model/architecture.ts';
import type { Checkpoint } from '../model/checkpoint.ts';
import type { FileSource } from '../model/file-source.ts';
import type { Activations } from '../protocol/activations.ts';
import { SkeinError } from '../protocol/errors.ts';
import type { ActivationFormat } from '../protocol/frames.ts';
import { newPeerId } from '../protocol/ids.ts';
import type { ModelId, RequestId } from '../protocol/ids.ts';
import type { Hop, Route } from '../protocol/route.ts';
import type { FrameTransport } from '../protocol/transport.ts';

export interface LocalMeshOptions {
  readonly device: EngineDevice;
  /** One for each stage, in order, where they are not to share `device`. */
  readonly stageDevices?: readonly EngineDevice[];
  readonly model: ModelId;
  readonly checkpoint: Checkpoint;
  /** Folder of the model's tokenizer; without it answers cannot be constrained. */
  readonly source?: FileSource;
  /** Layers at which a new stage begins, ascending; none for one stage. */
  readonly cuts: readonly number[];
  readonly precision: Precision;
  /** See GpuSliceOptions. */
  readonly cacheFormat?: CacheFormat;
  /** See GpuSliceOptions. */
  readonly activations?: Activations;
  readonly wireFormat: ActivationFormat;
  /** Tokens the cache of each stage holds, over all requests. */
  readonly cacheTokens: number;
  readonly prefillChunkRows?: number;
  /** See GpuSliceOptions. */
  readonly compiler?: KernelCompiler;
  readonly signal?: AbortSignal;
  /** Bytes over all stages. */
  readonly onProgress?: (progress: { loadedBytes: number; totalBytes: number }) => void;
}

/** What one stage of a LocalMesh did so far. */
export interface LocalStage {
  readonly hop: Hop;
  readonly stats: ExecutorStats;
  readonly trace: readonly StepTrace[];
}

interface RunningStage {
  readonly hop: Hop;
  readonly slice: GpuSlice;
  readonly executor: Executor;
  readonly served: ServedStage;
  readonly constraints: Constraints | null;
}

/**
 * A whole mesh in one process: stages on one GPU that exchange real frames without a network. A run without cuts is the
 * oracle for every split: the same code with a route of one stage.
 */
export class LocalMesh {
  readonly #stages: RunningStage[] = [];
  readonly #hub: LocalHub;

  private constructor(
    readonly model: ModelId,
    hub: LocalHub,
    /** The requester's end. */
    readonly transport: FrameTransport,
  ) {
    this.#hub = hub;
  }

  /** @throws SkeinError `bad-argument` for impossible cuts, and whatever loading a slice throws. */
  static async start(options: LocalMeshOptions): Promise<LocalMesh> {
    const { model, checkpoint } = options;
    const hub = new LocalHub();
    const mesh = new LocalMesh(model, hub, hub.transport(newPeerId()));
    const ranges = cutLayers(checkpoint.architecture.layerCount, options.cuts);
    try {
      for (const [index, range] of ranges.entries()) {
        const slice = await GpuSlice.load({
          device: options.stageDevices?.[index] ?? options.device,
          checkpoint,
          slice: range,
          precision: options.precision,
          ...(options.cacheFormat && { cacheFormat: options.cacheFormat }),
          ...(options.activations && { activations: options.activations }),
          cacheTokens: options.cacheTokens,
          ...(options.compiler && { compiler: options.compiler }),
          ...(options.signal && { signal: options.signal }),
          onProgress: ({ loadedBytes, totalBytes }) =>
            options.onProgress?.({
              loadedBytes: loadedBytes + totalBytes * index,
              totalBytes: totalBytes * ranges.length,
            }),
        });
        const hop: Hop = { peer: newPeerId(), ...range };
        const { source, prefillChunkRows } = options;
        const constraints = source && slice.hasHead ? constraintsOf(source, slice.vocabSize) : null;
        const executor = new Executor(slice, {
          ...(prefillChunkRows !== undefined && { prefillChunkRows }),
          ...(constraints && { constraints: constraints.compile }),
        });
        const served = new ServedStage({
          transport: hub.transport(hop.peer),
          executor,
          model,
          ...range,
          wireFormat: options.wireFormat,
        });
        mesh.#stages.push({ hop, slice, executor, served, constraints });
      }
    } catch (thrown) {
      mesh.dispose();
      throw thrown;
    }
    return mesh;
  }

  /** The one route there is: every stage in order. */
  requestRoute(query: { model: ModelId; requestId: RequestId; epoch: number }): Promise<Route> {
    return Promise.resolve({ ...query, hops: this.#stages.map(({ hop }) => hop) });
  }

  /** What the stages did so far, in order of the route. */
  get stages(): LocalStage[] {
    return this.#stages.map(({ hop, executor }) => ({ hop, stats: executor.stats, trace: executor.trace }));
  }

  /** The end of another requester: nobody finds what others left in the caches. */
  newRequester(): FrameTransport {
    return this.#hub.transport(newPeerId());
  }

  dispose(): void {
    for (const { served, slice, constraints } of this.#stages) {
      served.dispose();
      constraints?.dispose();
      slice.dispose();
    }
    this.#stages.length = 0;
  }
}

/** @throws SkeinError `bad-argument` for cuts that are out of order or leave a stage without layers. */
function cutLayers(layerCount: number, cuts: readonly number[]): SliceRange[] {
  const bounds = [0, ...cuts, layerCount];
  return bounds.slice(1).map((layerEnd, index) => {
    const layerStart = bounds[index] ?? 0;
    if (!Number.isInteger(layerEnd) || layerEnd <= layerStart) {
      throw new SkeinError(
        'bad-argument',
        `Cuts ${cuts.join(',')} do not split ${layerCount} layers: give ascending layer numbers from 1 to ${layerCount - 1}.`,
      );
    }
    return { layerStart, layerEnd };
  });
}
