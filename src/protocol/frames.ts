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

/** What one hop has of a request when it is opened: what the requester plans the starts by. */
export interface StageOffer {
  /** Rows whose keys and values are here, from position 0: a multiple of BLOCK_TOKENS, below promptTokens. */
  readonly cachedTokens: number;
  /**
   * First position of the rows that it can send to the next hop again without computing them: from here to `cachedTokens` at
   * least. Equal to or above `cachedTokens` when there are none.
   */
  readonly journalFrom: number;
}

/**
 * Everything one peer says to another about requests.
 * `open`, `begin`, `tokens`, `activations`, `inquire` and `close` go to stages; `opened`, `sampled`, `state` and `failed` go to the
 * requester.
 */
export type Frame =
  /** Requester → first stage → … → last stage. Every stage adds its offer: the first is sent none. */
  | { readonly type: 'open'; readonly request: OpenRequest; readonly offers: readonly StageOffer[] }
  /** Last stage → requester: what every hop has. From the first, with its offer alone, where that is nothing. */
  | {
      readonly type: 'opened';
      readonly requestId: RequestId;
      readonly epoch: number;
      readonly offers: readonly StageOffer[];
    }
  /** Requester → first stage → … → last stage, before the first rows: the position of the first row that each hop computes. */
  | {
      readonly type: 'begin';
      readonly requestId: RequestId;
      readonly epoch: number;
      readonly starts: readonly number[];
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
      /** The request goes on without the receiver, which alone is meant: it does not pass this on. */
      readonly isMoved: boolean;
    }
  /** Requester → first stage → … → last stage: how far is it? */
  | {
      readonly type: 'inquire';
      readonly requestId: RequestId;
      readonly epoch: number;
      readonly nonce: number;
    }
  /** The answer of every hop, back the way the question came. */
  | {
      readonly type: 'state';
      readonly requestId: RequestId;
      readonly epoch: number;
      /** Of the `inquire` that this answers. */
      readonly nonce: number;
      /** Index of the hop. */
      readonly hop: number;
      /** Position after the last row that it was given. */
      readonly receivedUpTo: number;
      /** Position after the last row whose output it has handed on; at the last hop, of the row its last token came from. */
      readonly sentUpTo: number;
      /** Forward passes of the stage since it was loaded, for any request; counts modulo 2^32. */
      readonly steps: number;
      /** The median of its recent passes, f32; 0 before the first. */
      readonly typicalStepMs: number;
    }
  /** Any stage → requester. */
  | {
      readonly type: 'failed';
      readonly requestId: RequestId;
      readonly epoch: number;
      readonly error: ErrorShape;
    };

export type FrameOf<Type extends Frame['type']> = Extract<Frame, { type: Type }>;
