import type { KernelTime } from '../engine/profiler.ts';
import type { SkeinError } from '../protocol/errors.ts';
import type { ModelId } from '../protocol/ids.ts';
import type { Quantization } from '../protocol/quantization.ts';
import type { Capability } from '../protocol/signaling.ts';

/** The layers `[layerStart, layerEnd)` of a model with `layerCount` layers. */
export interface AssignedSlice {
  readonly model: ModelId;
  readonly layerStart: number;
  readonly layerEnd: number;
  readonly layerCount: number;
  /** What was made of its weights. */
  readonly quantization: Quantization;
}

/** What a serving stage did and does. */
export interface StageStats {
  /** Requests that hold cache here now. */
  readonly activeSequences: number;
  /** Token rows computed since the slice was loaded, prompts included. */
  readonly tokens: number;
  /** Over the last seconds. */
  readonly tokensPerSecond: number;
  /** 0 to 1: the share of the last seconds the device was computing. */
  readonly busyShare: number;
  /** When this was so: milliseconds of the engine's own clock. */
  readonly atMs: number;
  /** Forward passes since the slice was loaded, and the time they took. */
  readonly steps: number;
  readonly busyMs: number;
  /** Tokens of cache that no request holds, of how many. */
  readonly freeCacheTokens: number;
  readonly cacheTokens: number;
  /** Token rows passed on to the next tab since the slice was loaded, and the bytes of their frames. */
  readonly activationRowsSent: number;
  readonly activationBytesSent: number;
  /** Of the last step that was timed, slowest first; absent where kernels are not timed. */
  readonly kernelTimes?: readonly KernelTime[];
}

export const NO_STATS: StageStats = {
  activeSequences: 0,
  tokens: 0,
  tokensPerSecond: 0,
  busyShare: 0,
  atMs: 0,
  steps: 0,
  busyMs: 0,
  freeCacheTokens: 0,
  cacheTokens: 0,
  activationRowsSent: 0,
  activationBytesSent: 0,
};

/** Why a contributor stops by itself, and goes on by itself: its battery runs low, or the browser froze its page. */
export type PauseReason = 'battery-low' | 'frozen';

/** A contributor's life. `idle`, `paused` and `failed` serve nobody; only of `paused` because of `frozen` a device is left. */
export type ContributorState =
  | { readonly phase: 'idle' }
  | { readonly phase: 'measuring' }
  | { readonly phase: 'waiting'; readonly capability: Capability; readonly waitingFor: 'server' | 'work' }
  | {
      readonly phase: 'loading';
      readonly capability: Capability;
      readonly slice: AssignedSlice;
      readonly loadedBytes: number;
      /** 0 until the sizes are known. */
      readonly totalBytes: number;
    }
  | {
      readonly phase: 'serving';
      readonly capability: Capability;
      readonly slice: AssignedSlice;
      readonly stats: StageStats;
    }
  /** The device was lost, or its worker hung: the same slice is loaded on another one. Requests go around this peer. */
  | {
      readonly phase: 'rebuilding';
      readonly capability: Capability;
      readonly slice: AssignedSlice;
      /** What happened to the device. */
      readonly error: SkeinError;
      readonly loadedBytes: number;
      /** 0 until the sizes are known. */
      readonly totalBytes: number;
    }
  /** Answers under way are being finished; no new ones come. `reason` is absent where the person wants it. */
  | { readonly phase: 'stopping'; readonly activeSequences: number; readonly reason?: PauseReason }
  /** Goes on by itself when the reason is gone. */
  | { readonly phase: 'paused'; readonly reason: PauseReason }
  | { readonly phase: 'failed'; readonly error: SkeinError };
