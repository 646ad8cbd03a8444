import type { ErrorShape } from './errors.ts';
import type { RequestId } from './ids.ts';
import type { TokenLogProbability } from './sampling.ts';
import type { OpenRequest } from './stage.ts';

/** Token rows of one sequence inside a frame. `position` is the position of the first row in the sequence. */
export interface FrameSequence {
  readonly requestId: RequestId;
  readonly epoch: number;
  readonly position: number;
}

export type ActivationFormat = 'f32' | 'f16';

/**
 * Everything one peer says to another about requests.
 * `open`, `tokens`, `activations` and `close` go to stages; `opened`, `sampled` and `failed` go to the requester.
 */
export type Frame =
  /**
   * Requester → first stage → … → last stage. `cachedTokens` is what every stage so far has of the prompt, from its start;
   * the requester begins with what hashes can name.
   */
  | { readonly type: 'open'; readonly request: OpenRequest; readonly cachedTokens: number }
  /** The stage where the number is final → requester: the prompt is wanted from this position on. */
  | {
      readonly type: 'opened';
      readonly requestId: RequestId;
      readonly epoch: number;
      readonly cachedTokens: number;
    }
  /** Requester → first stage (the prompt), last stage → first stage (the ring). */
  | {
      readonly type: 'tokens';
      readonly sequences: readonly (FrameSequence & { readonly tokenIds: Uint32Array })[];
    }
  /** Stage → next stage. `values` is f32 [rows, hidden], whatever the format on the wire. */
  | {
      readonly type: 'activations';
      readonly hiddenSize: number;
      readonly sequences: readonly (FrameSequence & {
        readonly rows: number;
        readonly values: Float32Array;
      })[];
    }
  /** Last stage → requester. */
  | {
      readonly type: 'sampled';
      readonly sequences: readonly (FrameSequence & {
        readonly tokenId: number;
        readonly logProbability: number;
        /** Most probable first; empty where nobody asked. */
        readonly topLogProbabilities: readonly TokenLogProbability[];
      })[];
    }
  /** Requester → first stage → … → last stage: the request is over. The hashes name the blocks of prompt and answer. */
  | {
      readonly type: 'close';
      readonly requestId: RequestId;
      readonly epoch: number;
      readonly blockHashes: readonly string[];
    }
  /** Any stage → requester. */
  | {
      readonly type: 'failed';
      readonly requestId: RequestId;
      readonly epoch: number;
      readonly error: ErrorShape;
    };
