import { STARVING_STEPS } from '../../src/engine/plan.ts';
import type { Batching } from './policy.ts';
import { BLOCK_TOKENS, blocksOf, decodes, pendingRows } from './stage-sequence.ts';
import type { StageSequence } from './stage-sequence.ts';

export interface PlannedRows {
  readonly sequence: StageSequence;
  readonly rows: number;
}

export interface StepPlan {
  readonly rows: readonly PlannedRows[];
  /** Who loses its blocks to an older one, and is computed again when it finds room. */
  readonly preempted: readonly StageSequence[];
  /** Alone and still without room: can never be computed here. */
  readonly hopeless: readonly StageSequence[];
}

type ContinuousBatching = Extract<Batching, { kind: 'continuous' }>;

/**
 * The next step of a stage. For `continuous` it does what src/engine/plan.ts does, in a form that takes thousands of
 * requests: whoever waited too long, whoever is `first`, then the others, then whoever waits for admission, by age; where blocks are short, the older
 * takes from the younger. It leaves out what this simulator has no cause for: shared blocks and idle holders.
 * @param sequences in order of turn: whoever was served longest ago comes first.
 * @param freeTokenLayers room in the cache, in tokens of one layer; null where all room was taken in advance.
 */
export function planStep(
  sequences: readonly StageSequence[],
  batching: Batching,
  freeTokenLayers: number | null,
): StepPlan {
  const pending = sequences.filter((sequence) => pendingRows(sequence) > 0);
  if (pending.length === 0) return { rows: [], preempted: [], hopeless: [] };
  if (batching.kind === 'continuous') return planBatch(sequences, pending, batching, freeTokenLayers);
  const chunkRows = batching.prefillChunkRows ?? Infinity;
  const oneRequest: ContinuousBatching = {
    kind: 'continuous',
    first: 'decode',
    maxRows: chunkRows,
    maxSequences: 1,
    prefillChunkRows: batching.prefillChunkRows,
    decodeRows: 'all',
  };
  const longestWaiting = pending.reduce((a, b) => (b.waitsSince < a.waitsSince ? b : a));
  return planBatch(sequences, [longestWaiting], oneRequest, freeTokenLayers);
}

function planBatch(
  sequences: readonly StageSequence[],
  pending: readonly StageSequence[],
  batching: ContinuousBatching,
  freeTokenLayers: number | null,
): StepPlan {
  const { maxRows, maxSequences } = batching;
  const chunkRows = batching.prefillChunkRows ?? Infinity;
  const decodeLimit = batching.decodeRows === 'all' ? Infinity : microBatchLimit(sequences);
  const room = freeTokenLayers === null ? null : new Room(sequences, freeTokenLayers);
  const planned = new Map<StageSequence, number>();
  const hopeless: StageSequence[] = [];
  let rowsLeft = maxRows;
  let decodeRows = 0;
  const waiting = pending.filter(({ isResident }) => !isResident).sort(byAge);
  /** Admission is in order of age. */
  const isNextToAdmit = ({ run: { age } }: StageSequence) => {
    const next = waiting.find((other) => !planned.has(other));
    return next === undefined || age <= next.run.age;
  };

  for (const sequence of inOrder(pending, waiting, batching.first)) {
    if (rowsLeft === 0 || planned.size >= maxSequences) break;
    if (room?.preempted.has(sequence) === true) continue;
    const isDecode = sequence.isResident && decodes(sequence);
    if (isDecode && decodeRows >= decodeLimit) continue;
    if (!sequence.isResident && !isNextToAdmit(sequence)) continue;
    const rows = Math.min(pendingRows(sequence), isDecode ? 1 : chunkRows, rowsLeft);
    const victims = room === null ? [] : room.reserve(sequence, rows);
    if (victims === null) {
      if (sequences.every((other) => other === sequence || !other.isResident)) hopeless.push(sequence);
      continue;
    }
    for (const victim of victims) {
      const freed = planned.get(victim);
      if (freed === undefined) continue;
      planned.delete(victim);
      rowsLeft += freed;
      if (decodes(victim)) decodeRows -= 1;
    }
    planned.set(sequence, rows);
    rowsLeft -= rows;
    if (isDecode) decodeRows += 1;
  }
  return {
    rows: Array.from(planned, ([sequence, rows]) => ({ sequence, rows })),
    preempted: room === null ? [] : [...room.preempted],
    hopeless,
  };
}

function inOrder(
  pending: readonly StageSequence[],
  waiting: readonly StageSequence[],
  first: ContinuousBatching['first'],
): StageSequence[] {
  const starving: StageSequence[] = [];
  const decoding: StageSequence[] = [];
  const prefilling: StageSequence[] = [];
  for (const sequence of pending) {
    if (first === 'decode' && sequence.waitedSteps >= STARVING_STEPS) starving.push(sequence);
    else if (!sequence.isResident) continue;
    else if (decodes(sequence)) decoding.push(sequence);
    else prefilling.push(sequence);
  }
  if (first === 'prefill') return [...prefilling, ...waiting, ...decoding];
  starving.sort((a, b) => b.waitedSteps - a.waitedSteps || byAge(a, b));
  const patient = waiting.filter(({ waitedSteps }) => waitedSteps < STARVING_STEPS);
  return [...starving, ...decoding, ...prefilling, ...patient];
}

/** As in src/engine/plan.ts: over a route of S > 1 hops, each sequence is in one of S + 1 batches. */
function microBatchLimit(sequences: readonly StageSequence[]): number {
  let share = 0;
  for (const sequence of sequences) {
    const hops = sequence.run.hops.length;
    if (sequence.isResident && decodes(sequence)) share += hops === 1 ? 1 : 1 / (hops + 1);
  }
  // A sum of thirds is not always whole.
  return Math.max(1, Math.ceil(share - 1e-9));
}

/** Deals out the cache on paper, in tokens of one layer. */
class Room {
  readonly preempted = new Set<StageSequence>();
  readonly #reserved = new Map<StageSequence, number>();

  constructor(
    private readonly sequences: readonly StageSequence[],
    private free: number,
  ) {}

  /** @returns who loses its blocks for it; null when it cannot be, and then nothing changes. */
  reserve(sequence: StageSequence, rows: number): StageSequence[] | null {
    const needed = sequence.isResident
      ? (blocksOf(sequence.cachedRows + rows) - sequence.blocks) * blockSize(sequence)
      : // All that is known, and what older ones will want: whoever starts should be able to go on.
        blocksOf(Math.max(sequence.knownRows, sequence.run.promptRows)) * blockSize(sequence) +
        this.#promisedToOlder(sequence);
    const victims: StageSequence[] = [];
    let free = this.free;
    if (needed > free) {
      for (const victim of this.#younger(sequence)) {
        if (needed <= free) break;
        victims.push(victim);
        free += victim.blocks * blockSize(victim) + (this.#reserved.get(victim) ?? 0);
      }
      if (needed > free) return null;
    }
    for (const victim of victims) {
      // Whoever was only to be admitted in this step goes on waiting.
      if (victim.isResident) this.preempted.add(victim);
      this.#reserved.delete(victim);
    }
    const taken = Math.max(0, blocksOf(sequence.cachedRows + rows) - sequence.blocks) * blockSize(sequence);
    this.#reserved.set(sequence, taken);
    this.free = free - taken;
    return victims;
  }

  /** Those with blocks that came later, the youngest first. */
  #younger({ run: { age } }: StageSequence): StageSequence[] {
    return this.sequences
      .filter((other) => this.#hasRoom(other) && other.run.age > age)
      .sort((a, b) => byAge(b, a));
  }

  /** The rest of their prompts, and a block for each to grow into. */
  #promisedToOlder({ run: { age } }: StageSequence): number {
    let promised = 0;
    for (const other of this.sequences) {
      if (!this.#hasRoom(other) || other.run.age >= age) continue;
      const known = blocksOf(Math.max(other.knownRows, other.run.promptRows));
      const held = other.blocks + (this.#reserved.get(other) ?? 0) / blockSize(other);
      promised += (1 + Math.max(0, known - held)) * blockSize(other);
    }
    return promised;
  }

  #hasRoom(sequence: StageSequence): boolean {
    return (sequence.isResident && !this.preempted.has(sequence)) || this.#reserved.has(sequence);
  }
}

function blockSize({ layers }: StageSequence): number {
  return BLOCK_TOKENS * layers;
}

function byAge(a: StageSequence, b: StageSequence): number {
  return a.run.age - b.run.age;
}
