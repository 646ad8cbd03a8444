import type { RequestId } from '../protocol/ids.ts';

/** What the planner may know of a sequence. */
export interface PlannableSequence {
  readonly requestId: RequestId;
  /** Rows that arrived and were not computed yet, up to the end of the prompt while it is being prefilled. */
  readonly pendingRows: number;
  /** `prefill` until every prompt row was computed, `decode` after. */
  readonly phase: 'prefill' | 'decode';
}

export interface PlanLimits {
  /** Rows of one batch. */
  readonly maxRows: number;
  /** Sequences of one batch. */
  readonly maxSequences: number;
  /** Rows of one sequence in one batch, so that a long prompt does not hold up everyone's next token. */
  readonly prefillChunkRows: number;
}

export interface PlannedRows {
  readonly requestId: RequestId;
  readonly rowCount: number;
}

/**
 * Picks the rows of the next batch: decode rows first, then prefill chunks with what is left of the budget.
 * @param sequences in order of turn; whoever waited longest comes first.
 * @returns an empty plan when nothing is pending.
 */
export function planBatch(sequences: readonly PlannableSequence[], limits: PlanLimits): PlannedRows[] {
  const plan: PlannedRows[] = [];
  let freeRows = limits.maxRows;
  for (const phase of ['decode', 'prefill'] as const) {
    const chunkRows = phase === 'decode' ? 1 : limits.prefillChunkRows;
    for (const sequence of sequences) {
      if (freeRows === 0 || plan.length === limits.maxSequences) return plan;
      if (sequence.phase !== phase || sequence.pendingRows === 0) continue;
      const rowCount = Math.min(sequence.pendingRows, chunkRows, freeRows);
      plan.push({ requestId: sequence.requestId, rowCount });
      freeRows -= rowCount;
    }
  }
  return plan;
}
