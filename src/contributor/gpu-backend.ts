import { requestEngineDevice } from '../engine/device.ts';
import type { EngineDevice } from '../engine/device.ts';
import { Executor } from '../engine/executor.ts';
import { GpuSlice } from '../engine/gpu-slice.ts';
import { measureDevice } from '../engine/measure.ts';
import { ServedStage } from '../mesh/served-stage.ts';
import { HttpSource } from '../model/http-source.ts';
import { openCheckpoint } from '../model/open-checkpoint.ts';
import { quantizedCheckpoint } from '../model/quantize.ts';
import { SkeinError } from '../protocol/errors.ts';
import type { ModelId } from '../protocol/ids.ts';
import type { Capability } from '../protocol/signaling.ts';
import type { EngineBackend, RunningStage, StageLoadContext } from './engine-session.ts';
import type { StageRequest } from './worker-messages.ts';

/** Longest adapter name a capability may carry. */
const ADAPTER_NAME_LENGTH = 200;

/** The engine on this machine's GPU: one device, one stage at a time. */
export class GpuBackend implements EngineBackend {
  readonly #gpu: GPU | undefined;
  readonly #onLost: (error: SkeinError) => void;
  #device: Promise<EngineDevice> | null = null;

  /** @param gpu undefined where the browser has no WebGPU in workers. */
  constructor(gpu: GPU | undefined, onLost: (error: SkeinError) => void) {
    this.#gpu = gpu;
    this.#onLost = onLost;
  }

  async measure(options: { memoryLimitBytes: number; signal: AbortSignal }): Promise<Capability> {
    const device = await this.#open();
    const measured = await measureDevice(device, options);
    return { ...measured, adapter: device.adapterName.slice(0, ADAPTER_NAME_LENGTH) };
  }

  async startStage(request: StageRequest, context: StageLoadContext): Promise<RunningStage> {
    const { layerStart, layerEnd } = request;
    const { transport, signal, onProgress } = context;
    const stored = await openCheckpoint(new HttpSource(request.modelUrl), signal);
    const checkpoint = quantizedCheckpoint(stored, request.quantization);
    const slice = await GpuSlice.load({
      device: await this.#open(),
      checkpoint,
      slice: { layerStart, layerEnd },
      precision: 'f32',
      cacheTokens: request.cacheTokens,
      signal,
      onProgress: ({ loadedBytes, totalBytes }) => onProgress(loadedBytes, totalBytes),
    });
    const executor = new Executor(slice);
    const served = new ServedStage({
      transport,
      executor,
      model: request.model as ModelId,
      layerStart,
      layerEnd,
      wireFormat: 'f16',
    });
    return {
      get totals() {
        const { activationRows, activationBytes } = served.counters;
        return {
          ...executor.stats,
          activationRowsSent: activationRows,
          activationBytesSent: activationBytes,
        };
      },
      dispose: () => {
        served.dispose();
        slice.dispose();
      },
    };
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
    const device = await requestEngineDevice(this.#gpu);
    void device.lost.then(this.#onLost);
    return device;
  }
}
