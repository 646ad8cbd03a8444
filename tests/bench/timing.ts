import { SkeinError } from '../../src/protocol/errors.ts';

/** One of several ways to do the same thing. */
export interface Contender {
  readonly name: string;
  /** Does it once. @returns what is compared, in milliseconds (of the whole run, or per token). */
  run(): Promise<number>;
}

export interface Timing {
  readonly name: string;
  readonly medianMs: number;
  readonly minMs: number;
  readonly maxMs: number;
  /** In order of time. */
  readonly samplesMs: readonly number[];
}

export interface Rounds {
  /** Timed, ≥ 1. */
  readonly rounds: number;
  /** Before them, not counted. */
  readonly warmUps: number;
  /** After this time no further round begins, but one always does. */
  readonly budgetMs?: number;
}

/**
 * Times contenders in turn, round after round (A B, B A, A B, …), so that what the machine does meanwhile hits all of them alike.
 * @returns a timing per contender, in order.
 */
export async function interleave(
  contenders: readonly Contender[],
  { rounds, warmUps, budgetMs = Infinity }: Rounds,
): Promise<Timing[]> {
  const samples = contenders.map((): number[] => []);
  const startedMs = performance.now();
  for (let round = -warmUps; round < rounds; round++) {
    if (round > 0 && performance.now() - startedMs > budgetMs) break;
    const order = [...contenders.entries()];
    if (round % 2 !== 0) order.reverse();
    for (const [index, contender] of order) {
      const elapsedMs = await contender.run();
      if (round >= 0) samples[index]?.push(elapsedMs);
    }
  }
  return contenders.map(({ name }, index) => summarize(name, samples[index] ?? []));
}

/** A contender whose run is timed as a whole. */
export function timed(name: string, action: () => Promise<unknown>): Contender {
  return {
    name,
    run: async () => {
      const startedMs = performance.now();
      await action();
      return performance.now() - startedMs;
    },
  };
}

/** How many times faster `ours` is than `peer`, by medians. */
export function speedup(ours: Timing, peer: Timing): number {
  return peer.medianMs / ours.medianMs;
}

export function summarize(name: string, samplesMs: readonly number[]): Timing {
  return {
    name,
    medianMs: median(samplesMs),
    minMs: Math.min(...samplesMs),
    maxMs: Math.max(...samplesMs),
    samplesMs,
  };
}

/** The middle value, or the mean of the two in the middle. @throws SkeinError `bad-argument` for no values. */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new SkeinError('bad-argument', 'There is no median of no values.');
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? NaN) + upper) / 2;
}
