import type { Capability } from '../src/protocol/signaling.ts';
import { MIN_MATMUL_FLOPS_PER_SECOND, MIN_MATVEC_BYTES_PER_SECOND } from '../src/protocol/limits.ts';
import { medianOf } from './scheduler/median.ts';

/** More than the fastest device there is: 20 TB/s, 10 PFLOP/s, a TiB. */
const MOST: Rates & { readonly memoryBytes: number } = {
  memoryBytes: 2 ** 40,
  matvecBytesPerSecond: 20e12,
  matmulFlopsPerSecond: 10e15,
};
/** And less than the slowest that is let in. A claim of nothing must not take part in a median, nor make a step last for ever. */
const LEAST: Rates = {
  matvecBytesPerSecond: MIN_MATVEC_BYTES_PER_SECOND,
  matmulFlopsPerSecond: MIN_MATMUL_FLOPS_PER_SECOND,
};
/** What nobody has checked counts up to so many times the median of what was checked. */
const UNCHECKED_MULTIPLE = 4;
/** And where nothing was checked yet, up to so many times the median of all claims: what one requester can correct. */
const UNCHECKED_MULTIPLE_OF_CLAIMS = 8;
/**
 * What anybody is believed unchecked: a small laptop's 1 GB/s and 10 GFLOP/s. So claims of next to nothing hold no honest
 * device below it, and a false one of as much attracts little.
 */
const UNCHECKED_AT_LEAST: Rates = { matvecBytesPerSecond: 1e9, matmulFlopsPerSecond: 1e10 };
/** A median of fewer claims says nothing. */
const MIN_CLAIMS = 3;

export interface Rates {
  readonly matvecBytesPerSecond: number;
  readonly matmulFlopsPerSecond: number;
}

/** What is believed of anybody at most, and at least: no device is faster, none that is let in slower. */
export function withinReason(claim: Capability): Capability {
  const rates = atLeast(atMost(claim, MOST), LEAST);
  return { ...claim, ...rates, memoryBytes: Math.min(claim.memoryBytes, MOST.memoryBytes) };
}

/** @returns the most that is believed of a peer whose claim nobody has checked. */
export function uncheckedLimit(proven: readonly Rates[], claims: readonly Rates[]): Rates {
  if (proven.length > 0) return atLeast(times(medianRates(proven), UNCHECKED_MULTIPLE), UNCHECKED_AT_LEAST);
  if (claims.length < MIN_CLAIMS) return MOST;
  return atLeast(times(medianRates(claims), UNCHECKED_MULTIPLE_OF_CLAIMS), UNCHECKED_AT_LEAST);
}

/** A peer this many times slower, or faster below 1, than it was believed to be. */
export function slowedBy({ matvecBytesPerSecond, matmulFlopsPerSecond }: Rates, factor: number): Rates {
  return times({ matvecBytesPerSecond, matmulFlopsPerSecond }, 1 / factor);
}

export function atMost(a: Rates, b: Rates): Rates {
  return {
    matvecBytesPerSecond: Math.min(a.matvecBytesPerSecond, b.matvecBytesPerSecond),
    matmulFlopsPerSecond: Math.min(a.matmulFlopsPerSecond, b.matmulFlopsPerSecond),
  };
}

function atLeast(a: Rates, b: Rates): Rates {
  return {
    matvecBytesPerSecond: Math.max(a.matvecBytesPerSecond, b.matvecBytesPerSecond),
    matmulFlopsPerSecond: Math.max(a.matmulFlopsPerSecond, b.matmulFlopsPerSecond),
  };
}

function medianRates(rates: readonly Rates[]): Rates {
  return {
    matvecBytesPerSecond: medianOf(rates.map((rate) => rate.matvecBytesPerSecond)) ?? Infinity,
    matmulFlopsPerSecond: medianOf(rates.map((rate) => rate.matmulFlopsPerSecond)) ?? Infinity,
  };
}

function times({ matvecBytesPerSecond, matmulFlopsPerSecond }: Rates, factor: number): Rates {
  return {
    matvecBytesPerSecond: matvecBytesPerSecond * factor,
    matmulFlopsPerSecond: matmulFlopsPerSecond * factor,
  };
}
