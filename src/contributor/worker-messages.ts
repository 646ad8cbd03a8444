import type { Activations } from '../protocol/activations.ts';
import type { CacheFormat } from '../protocol/cache-format.ts';
import type { ErrorShape } from '../protocol/errors.ts';
import type { PeerId } from '../protocol/ids.ts';
import type { Quantization } from '../protocol/quantization.ts';
import type { Capability } from '../protocol/signaling.ts';
import type { CachedSlice } from '../model/weight-cache.ts';
import type { StageStats } from './contributor-state.ts';

/** Which slice the worker loads, and from where. */
export interface StageRequest {
  /** Absolute URL of the model folder, or of the GGUF file in it. */
  readonly modelUrl: string;
  readonly quantization: Quantization;
  readonly cache: CacheFormat;
  readonly activations: Activations;
  readonly model: string;
  readonly layerStart: number;
  readonly layerEnd: number;
  readonly self: PeerId;
  /** Tokens the cache holds, over all sequences. */
  readonly cacheTokens: number;
}

/** Page → engine worker. `operation` names what is answered or cancelled; it is never used twice. */
export type WorkerCommand =
  | {
      readonly type: 'measure';
      readonly operation: number;
      readonly memoryLimitBytes: number;
      readonly timesKernels?: boolean;
    }
  /** `frames` is the worker's end of a `TransportPortMessage` channel; it is transferred. */
  | {
      readonly type: 'load';
      readonly operation: number;
      readonly request: StageRequest;
      readonly frames: MessagePort;
    }
  | { readonly type: 'cancel'; readonly operation: number }
  | { readonly type: 'unload' }
  /** Answered by `pong` at once, whatever else is under way. */
  | { readonly type: 'ping'; readonly nonce: number };

/** Engine worker → page. Every `measure` and `load` ends in `measured`, `loaded` or `failed`. */
export type WorkerEvent =
  | { readonly type: 'measured'; readonly operation: number; readonly capability: Capability }
  | {
      readonly type: 'progress';
      readonly operation: number;
      readonly loadedBytes: number;
      readonly totalBytes: number;
    }
  | { readonly type: 'loaded'; readonly operation: number }
  | { readonly type: 'stats'; readonly operation: number; readonly stats: StageStats }
  | { readonly type: 'failed'; readonly operation: number; readonly error: ErrorShape }
  /** Weights that are on this machine, the latest first; before the first `measured`, and again whenever that changed. */
  | { readonly type: 'cached'; readonly slices: readonly CachedSlice[] }
  | { readonly type: 'pong'; readonly nonce: number }
  | { readonly type: 'lost'; readonly error: ErrorShape };

/** Worker → page messages of a frame port. */
export type PortRequest =
  /** `bytes` is transferred. */
  | {
      readonly type: 'send';
      readonly id: number;
      readonly to: PeerId;
      readonly bytes: Uint8Array<ArrayBuffer>;
    }
  /** A frame was taken; until then it counts against what its sender may have waiting here. */
  | { readonly type: 'handled'; readonly id: number }
  /** See FrameTransport.reject. */
  | { readonly type: 'reject'; readonly from: PeerId; readonly error: ErrorShape }
  /** Nothing follows: the last words of the stage are out, and the port can be closed. */
  | { readonly type: 'end' };

/** Page → worker messages of a frame port. `bytes` is transferred. */
export type PortDelivery =
  | {
      readonly type: 'frame';
      readonly id: number;
      readonly from: PeerId;
      readonly bytes: Uint8Array<ArrayBuffer>;
    }
  | { readonly type: 'peer-lost'; readonly peer: PeerId; readonly error: ErrorShape }
  /** The transport's own `send` resolved, or failed: this is the worker's back-pressure. */
  | { readonly type: 'sent'; readonly id: number }
  | { readonly type: 'send-failed'; readonly id: number; readonly error: ErrorShape };
