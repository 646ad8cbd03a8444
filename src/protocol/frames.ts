import type { ErrorShape } from './errors.ts';
import type { RequestId } from './ids.ts';
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
 * `open`, `tokens`, `activations` and `close` go to stages; `sampled` and `failed` go to the requester.
 */
export type Frame =
  /** Requester → first stage → … → last stage. */
  | { readonly type: 'open'; readonly request: OpenRequest }
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
      })[];
    }
  /** Requester → first stage → … → last stage: the request is over. */
  | { readonly type: 'close'; readonly requestId: RequestId; readonly epoch: number }
  /** Any stage → requester. */
  | {
      readonly type: 'failed';
      readonly requestId: RequestId;
      readonly epoch: number;
      readonly error: ErrorShape;
    };
