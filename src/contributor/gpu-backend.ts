import { BLOCK_TOKENS } from '../engine/batch.ts';
import { chooseInt8Tuning, chooseTuning } from '../engine/choose-tuning.ts';
import type { TuningStore } from '../engine/choose-tuning.ts';
import { DeviceFaults } from '../engine/device-faults.ts';
import { requestEngineDevice } from '../engine/device.ts';
import type { EngineDevice } from '../engine/device.ts';
import { Executor } from '../engine/executor.ts';
import { GpuSlice } from '../engine/gpu-slice.ts';
import { KernelCompiler } from '../engine/kernel.ts';
import { measureDevice } from '../engine/measure.ts';
import { PROFILER_FEATURE, StepProfiler } from '../engine/profiler.ts';
import { constraintsOf } from '../grammar/constraint-compiler.ts';
import { ServedStage } from '../mesh/served-stage.ts';
import { HttpSource } from '../model/http-source.ts';
import { openCheckpoint } from '../model/open-checkpoint.ts';
import { quantizedCheckpoint } from '../model/quantize.ts';
import type { CachedSlice, WeightCache } from '../model/weight-cache.ts';
import { systemClock } from '../protocol/clock.ts';
import { SkeinError } from '../protocol/errors.ts';
import type { ModelId } from '../protocol/ids.ts';
import { CACHE_RESERVE_TOKENS } from '../protocol/limits.ts';
import type { Capability } from '../protocol/signaling.ts';
import type { EngineBackend, RunningStage, StageLoadContext } from './engine-session.ts';
import { timedSlice } from './timed-slice.ts';
import type { TimedSlice } from './timed-slice.ts';
import { watchedSlice } from './watched-slice.ts';
import type { StageRequest } from './worker-messages.ts';

/** Longest adapter name a capability may carry. */
const ADAPTER_NAME_LENGTH = 200;

export interface KeptThings {
  /** What was measured to suit the adapter. */
  readonly tunings?: TuningStore | null;
  /** The weights of slices that were loaded. */
  readonly weights?: WeightCache | null;
  /** Which slices' weights are kept, the latest first; told before the device is measured, and after every load. */
  readonly onCached?: (slices: readonly CachedSlice[]) => void;
}

/** The engine on this machine's GPU: one device, one stage at a time. */
export class GpuBackend implements EngineBackend {
  readonly #gpu: GPU | undefined;
  readonly #onLost: (error: SkeinError) => void;
  readonly #kept: KeptThings;
  #device: Promise<EngineDevice> | null = null;
  #served: ServedStage | null = null;
  #timesKernels = false;

  /**
   * @param gpu undefined where the browser has no WebGPU in workers.
   * @param kept what this machine keeps from one run to the next; nothing by default.
   */
  constructor(gpu: GPU | undefined, onLost: (error: SkeinError) => void, kept: KeptThings = {}) {
    this.#gpu = gpu;
    this.#kept = kept;
    this.#onLost = onLost;
  }

  async measure(options: {
    memoryLimitBytes: number;
    timesKernels: boolean;
    signal: AbortSignal;
  }): Promise<Capability> {
    // Before the device is opened, once: it has timestamps or not for good.
    if (this.#device === null) this.#timesKernels = options.timesKernels;
    const device = await this.#open();
    await this.#listCached();
    const measured = await measureDevice(device, options);
    return { ...measured, adapter: device.adapterName.slice(0, ADAPTER_NAME_LENGTH) };
  }

  async startStage(request: StageRequest, context: StageLoadContext): Promise<RunningStage> {
    const { layerStart, layerEnd } = request;
    const { transport } = context;
    const engine = await this.#open();
    const slice = await this.#loadSlice(engine, request, context);
    const timed = engine.device.features.has(PROFILER_FEATURE) ? withTimes(slice, engine.device) : null;
    const watched = watchedSlice(timed ?? slice, systemClock, (error) => this.#lose(error));
    const constraints = slice.hasHead
      ? constraintsOf(new HttpSource(request.modelUrl), slice.vocabSize)
      : null;
    const executor = new Executor(watched, constraints ? { constraints: constraints.compile } : {});
    const served = new ServedStage({
      transport,
      executor,
      model: request.model as ModelId,
      layerStart,
      layerEnd,
      wireFormat: 'f16',
    });
    this.#served = served;
    return {
      get totals() {
        const { activationRows, activationBytes } = served.counters;
        const { stats } = executor;
        return {
          ...stats,
          // What waits for another route holds nobody up who wants to leave.
          activeSequences: served.activeRequests,
          freeCacheTokens: stats.freeBlocks * BLOCK_TOKENS,
          cacheTokens: slice.blockCount * BLOCK_TOKENS,
          activationRowsSent: activationRows,
          activationBytesSent: activationBytes,
          ...(timed && { kernelTimes: timed.kernelTimes }),
        };
      },
      dispose: () => {
        served.dispose();
        if (this.#served === served) this.#served = null;
        constraints?.dispose();
        watched.dispose();
      },
    };
  }

  /** Frees the device, and with it whatever is loaded. Never rejects. */
  async dispose(): Promise<void> {
    const opened = await this.#device?.catch(() => null);
    opened?.device.destroy();
  }

  async #loadSlice(
    device: EngineDevice,
    request: StageRequest,
    { signal, onProgress }: StageLoadContext,
  ): Promise<GpuSlice> {
    const { modelUrl, layerStart, layerEnd, quantization, cache, activations, cacheTokens } = request;
    const { weights = null } = this.#kept;
    if (activations === 'int8') {
      KernelCompiler.tune(device.device, await chooseInt8Tuning(device, this.#kept.tunings ?? null));
    }
    const remote = new HttpSource(modelUrl);
    const cached = weights?.open(remote) ?? null;
    let isLoaded = false;
    try {
      const stored = await openCheckpoint(cached ?? remote, signal);
      const slice = await GpuSlice.load({
        device,
        checkpoint: quantizedCheckpoint(stored, quantization),
        slice: { layerStart, layerEnd },
        precision: 'f32',
        cacheFormat: cache,
        activations,
        cacheTokens,
        // What every stage has. Some buffers grow with the longest sequence, and take the room of others.
        maxSequenceTokens: CACHE_RESERVE_TOKENS,
        signal,
        onProgress: ({ loadedBytes, totalBytes }) => onProgress(loadedBytes, totalBytes),
      });
      isLoaded = true;
      return slice;
    } finally {
      // Serving does not wait for the disk.
      if (weights && cached) {
        void weights
          .remember({ modelUrl, layerStart, layerEnd }, cached, isLoaded)
          .then(() => this.#listCached());
      }
    }
  }

  async #listCached(): Promise<void> {
    const { weights, onCached } = this.#kept;
    if (weights && onCached) onCached(await weights.list());
  }

  /** Requesters are told before the next step fails: on an idle device there may be none for long. */
  #lose(error: SkeinError): void {
    this.#served?.dispose(error);
    this.#served = null;
    this.#onLost(error);
  }

  #open(): Promise<EngineDevice> {
    this.#device ??= this.#request();
    return this.#device;
  }

  async #request(): Promise<EngineDevice> {
    if (this.#gpu === undefined) {
      throw new SkeinError(
        'no-adapter',
        'This browser offers WebGPU in pages, but not in workers. Update it.',
      );
    }
    const device = await requestEngineDevice(this.#gpu, this.#timesKernels ? [PROFILER_FEATURE] : []);
    void new DeviceFaults(device).first.then((error) => this.#lose(error));
    KernelCompiler.tune(device.device, await chooseTuning(device, this.#kept.tunings ?? null));
    return device;
  }
}

/** The slice with a profiler of its own. */
function withTimes(slice: GpuSlice, device: GPUDevice): TimedSlice {
  const profiler = new StepProfiler(device);
  return timedSlice(
    slice,
    {
      forward: async (batch) => ({
        result: await slice.forward(batch, profiler),
        times: await profiler.times(),
      }),
      dispose: () => profiler.dispose(),
    },
    () => performance.now(),
  );
}
