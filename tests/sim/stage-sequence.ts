import type { Hop } from '../../src/protocol/route.ts';
import type { Run } from './run.ts';

/** A request on one of its hops. Rows are counted from the first of the prompt. */
export interface StageSequence {
  readonly run: Run;
  readonly hop: Hop;
  readonly hopIndex: number;
  readonly layers: number;
  /** Rows that arrived here. */
  knownRows: number;
  /** Rows in the cache. */
  cachedRows: number;
  /** Rows whose results left for the next hop; more than `cachedRows` while lost rows are computed again. */
  emittedRows: number;
  /** Blocks of cache held. */
  blocks: number;
  /** Whether it was admitted and holds blocks as it needs them. */
  isResident: boolean;
  /** Steps since it has rows. */
  waitedSteps: number;
  /** Since when the oldest row waits. */
  waitsSince: number;
}

/** Tokens of one block of cache, as in src/engine/batch.ts. */
export const BLOCK_TOKENS = 16;

export function blocksOf(tokens: number): number {
  return Math.ceil(tokens / BLOCK_TOKENS);
}

export function pendingRows({ knownRows, cachedRows }: StageSequence): number {
  return knownRows - cachedRows;
}

/** Its prompt is cached, and nothing is computed a second time: one row gives the next token. */
export function decodes({ run, cachedRows, emittedRows }: StageSequence): boolean {
  return cachedRows >= run.promptRows && emittedRows <= cachedRows;
}
