import type { SkeinError } from '../protocol/errors.ts';
import type { Capability, ModelCard, SliceName } from '../protocol/signaling.ts';
import type { FrameTransport } from '../protocol/transport.ts';
import type { StageStats } from './contributor-state.ts';

export interface MeasureOptions {
  /** Upper bound on what the tab will allocate for weights and cache. */
  readonly memoryLimitBytes: number;
  /** Asks the GPU for timestamps, for `StageStats.kernelTimes`; some drivers get slower by it. Default false. */
  readonly timesKernels?: boolean;
  readonly signal: AbortSignal;
}

export interface LoadOptions {
  readonly model: ModelCard;
  readonly layerStart: number;
  readonly layerEnd: number;
  /** What the device has for weights and cache, as measured. */
  readonly memoryBytes: number;
  /** Carries the frames of the stage once it serves. */
  readonly transport: FrameTransport;
  readonly signal: AbortSignal;
  readonly onProgress: (loadedBytes: number, totalBytes: number) => void;
  /** Called about once a second while the stage serves. */
  readonly onStats: (stats: StageStats) => void;
}

/** Where a contributor's GPU work happens. Nothing touches the GPU before `measure`. */
export interface EngineHost {
  /** Resolves, with the reason, when the device or its worker is gone for good. Never rejects. */
  readonly lost: Promise<SkeinError>;
  /** @throws SkeinError `no-adapter`, `timeout`, `aborted`. */
  measure(options: MeasureOptions): Promise<Capability>;
  /** Slices of these models whose weights are on this machine, the latest first. Known once the device is measured. */
  cachedSlices(models: readonly ModelCard[]): SliceName[];
  /**
   * Frees the present stage, loads this one and serves it. Resolves when it answers frames.
   * @throws SkeinError `model-missing`, `model-corrupt`, `model-unsupported`, `out-of-memory`, `device-lost`, `aborted`.
   */
  load(options: LoadOptions): Promise<void>;
  /** Frees the present stage, if any; the device stays. */
  unload(): void;
  /** Whether the engine answers a ping in `ENGINE_PING_TIMEOUT_MS`. Never rejects. */
  isAlive(): Promise<boolean>;
  /**
   * Frees everything. Idempotent; what is under way is rejected with `aborted`.
   * @returns when all of it is free, which takes little more than `GOODBYE_TIMEOUT_MS` at most. Never rejects.
   */
  dispose(): Promise<void>;
}
