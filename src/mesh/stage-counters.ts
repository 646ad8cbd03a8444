/** What a stage did and what it would not do, since it was made. */
export interface StageCounters {
  /** Parts of frames for a request that is not open here, or for another epoch of it. Late frames are normal. */
  dropped: number;
  /** Frames nobody honest sends: damaged, from a peer with no part in the request, out of order. */
  rejected: number;
  /** Forward passes. */
  steps: number;
  /** Sampled tokens; only a last stage samples. */
  tokens: number;
  /** Token rows passed on to a next stage, and the bytes of their frames. */
  activationRows: number;
  activationBytes: number;
  /** Of those rows, the ones that had been sent before, to another. */
  replayedRows: number;
}

export function newCounters(): StageCounters {
  return {
    dropped: 0,
    rejected: 0,
    steps: 0,
    tokens: 0,
    activationRows: 0,
    activationBytes: 0,
    replayedRows: 0,
  };
}
