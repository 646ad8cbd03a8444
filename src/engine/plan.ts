import type { RequestId } from '../protocol/ids.ts';
import { BlockBudget } from './block-budget.ts';
import type { BlockHolding, BlockLimits } from './block-budget.ts';

/** What the planner may know of a sequence. */
export interface PlannableSequence extends BlockHolding {
  /** Rows that arrived and are not in the cache, up to the end of the prompt, or up to what was computed once before. */
  readonly pendingRows: number;
  /** `prefill` while rows of the prompt are missing in the cache, or rows that were computed once before; `decode` after. */
  readonly phase: 'prefill' | 'decode';
  /** Stages of its route. */
  readonly hopCount: number;
  /** Batches since it has rows. */
  readonly waitedSteps: number;
}

export interface PlanLimits extends BlockLimits {
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

export interface BatchPlan {
  /** Whoever waited for admission and is here, is admitted. */
  readonly rows: readonly PlannedRows[];
  /** Who gives up its blocks, and waits to be admitted again. */
  readonly preempted: readonly RequestId[];
  /** Who is ended, because it holds blocks that it could not compute again and an older one needs. */
  readonly ended: readonly RequestId[];
  /** When to plan again even if nothing new comes; null when that would change nothing. */
  readonly retryAfterMs: number | null;
}

/** Batches after which a sequence goes before all that waited less, whatever it has: so nobody waits for ever. */
export const STARVING_STEPS = 8;

/**
 * Picks the rows of the next batch: who waited too long, then decode rows, then prefill chunks, then whoever waits for
 * admission, with what is left of the budget.
 *
 * A batch takes no more decode rows than a share of the sequences: over a route of S stages that makes S + 1 batches, one in every
 * stage and one on its way, so that all compute at the same time instead of passing one batch around.
 * @param sequences in order of turn; whoever was served longest ago comes first.
 */
export function planBatch(sequences: readonly PlannableSequence[], limits: PlanLimits): BatchPlan {
  const budget = new BlockBudget(sequences, limits);
  const planned = new Map<RequestId, { readonly rowCount: number; readonly isDecode: boolean }>();
  let freeRows = limits.maxRows;
  let decodeRows = 0;
  const decodeLimit = microBatchLimit(sequences);
  const pending = sequences.filter(({ pendingRows }) => pendingRows > 0);
  const waiting = pending.filter(({ isResident }) => !isResident);
  /** Admission is in order of age, so that a large request is not overtaken for ever by small ones. */
  const isNextToAdmit = ({ age: ownAge }: PlannableSequence) =>
    waiting.every(({ age, requestId }) => age >= ownAge || planned.has(requestId));

  for (const sequence of inOrder(pending)) {
    const { requestId, isResident, phase, pendingRows } = sequence;
    if (freeRows === 0 || planned.size === limits.maxSequences) break;
    const isDecode = phase === 'decode';
    if (isDecode && decodeRows >= decodeLimit) continue;
    if (budget.preempted.has(requestId) || budget.ended.has(requestId)) continue;
    if (!isResident && !isNextToAdmit(sequence)) continue;
    const rowCount = Math.min(pendingRows, isDecode ? 1 : limits.prefillChunkRows, freeRows);
    const victims = budget.reserve(sequence, rowCount);
    if (victims === null) continue;
    planned.set(requestId, { rowCount, isDecode });
    freeRows -= rowCount;
    if (isDecode) decodeRows += 1;
    for (const victim of victims) {
      const lost = planned.get(victim);
      if (lost === undefined) continue;
      planned.delete(victim);
      freeRows += lost.rowCount;
      if (lost.isDecode) decodeRows -= 1;
    }
  }
  return {
    rows: Array.from(planned, ([requestId, { rowCount }]) => ({ requestId, rowCount })),
    preempted: [...budget.preempted],
    ended: [...budget.ended],
    retryAfterMs: budget.retryAfterMs,
  };
}

function inOrder(pending: readonly PlannableSequence[]): PlannableSequence[] {
  const isStarving = ({ waitedSteps }: PlannableSequence) => waitedSteps >= STARVING_STEPS;
  const others = pending.filter((sequence) => !isStarving(sequence));
  const residents = others.filter(({ isResident }) => isResident);
  return [
    ...pending.filter(isStarving).sort((a, b) => b.waitedSteps - a.waitedSteps || byAge(a, b)),
    ...residents.filter(({ phase }) => phase === 'decode'),
    ...residents.filter(({ phase }) => phase === 'prefill'),
    ...others.filter(({ isResident }) => !isResident).sort(byAge),
  ];
}

function byAge(a: BlockHolding, b: BlockHolding): number {
  return a.age - b.age;
}

/** Decode rows of one batch: of the sequences that decode here, the share of one of the batches that their routes keep going. */
function microBatchLimit(sequences: readonly PlannableSequence[]): number {
  const share = sequences
    .filter(({ phase, isResident }) => phase === 'decode' && isResident)
    .reduce((sum, { hopCount }) => sum + 1 / batchesInFlight(hopCount), 0);
  // A sum of thirds is not always whole.
  return Math.max(1, Math.ceil(share - 1e-9));
}

/** A stage alone loses nothing by taking everyone; of several, each should find its next batch when it ends the one before. */
function batchesInFlight(hopCount: number): number {
  return hopCount === 1 ? 1 : hopCount + 1;
}
