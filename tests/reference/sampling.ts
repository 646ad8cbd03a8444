import type { SamplingParams } from '../../src/protocol/sampling.ts';

type Numbers = readonly number[] | Float32Array;

/** What was said before the token that is sampled. */
export interface SampledHistory {
  readonly prompt: readonly number[];
  readonly generated: readonly number[];
  readonly stopTokenIds: readonly number[];
}

/** log softmax at temperature 1, in float64. */
export function logProbabilities(logits: Numbers): number[] {
  const highest = largest(logits);
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - highest);
  return Array.from(logits, (logit) => logit - highest - Math.log(sum));
}

/** The ids of the most probable tokens, the lower id first among equals. */
export function mostProbable(logits: Numbers, count: number): number[] {
  const ids = Array.from(logits, (_, id) => id);
  return ids.sort((a, b) => (logits[b] ?? NaN) - (logits[a] ?? NaN) || a - b).slice(0, count);
}

/** The logits that the choice is made from, rounded to f32 after each operation: penalties, then biases, then bans. */
export function adjustedLogits(
  logits: Numbers,
  params: SamplingParams,
  { prompt, generated, stopTokenIds }: SampledHistory,
): number[] {
  const adjusted = Array.from(logits);
  const penalty = Math.fround(params.repetitionPenalty);
  for (const id of new Set([...prompt, ...generated])) {
    const logit = adjusted[id] ?? NaN;
    adjusted[id] = Math.fround(logit > 0 ? logit / penalty : logit * penalty);
  }
  const addends = new Map<number, number>(params.logitBias);
  for (const id of new Set(generated)) {
    const count = generated.filter((other) => other === id).length;
    addends.set(id, (addends.get(id) ?? 0) - params.presencePenalty - count * params.frequencyPenalty);
  }
  for (const [id, addend] of addends) {
    adjusted[id] = Math.fround((adjusted[id] ?? NaN) + Math.fround(addend));
  }
  const banned = params.logitBias.flatMap(([id, bias]) => (bias <= -100 ? [id] : []));
  if (generated.length < params.minTokens) banned.push(...stopTokenIds);
  for (const id of banned) adjusted[id] = -Infinity;
  return adjusted;
}

/** What a mask leaves of the logits that the choice is made from. */
export function maskedLogits(logits: readonly number[], mask: Uint32Array | null): number[] {
  if (mask === null) return [...logits];
  return logits.map((logit, id) => (((mask[id >> 5] ?? 0) >>> (id & 31)) & 1 ? logit : -Infinity));
}

/**
 * The smallest logit that sampling may return: top-k keeps what is at least the k-th largest logit, top-p keeps of the rest the most
 * probable tokens until their mass reaches p of it, min-p of the rest what is at least that share of the largest. Equal logits stay or
 * go together.
 */
export function lowestKept(logits: Numbers, params: SamplingParams): number {
  const temperature = Math.fround(params.temperature);
  const descending = Float64Array.from(logits).sort().reverse();
  const highest = descending[0] ?? NaN;
  const kthLargest = params.topK === 0 ? -Infinity : (descending[params.topK - 1] ?? -Infinity);
  let kept = descending.findIndex((logit) => logit < kthLargest);
  if (kept < 0) kept = descending.length;
  const weights = descending.subarray(0, kept).map((logit) => Math.exp((logit - highest) / temperature));
  const goal = Math.fround(params.topP) * weights.reduce((sum, weight) => sum + weight, 0);
  let lowest = descending[kept - 1] ?? NaN;
  if (params.topP < 1) {
    let mass = 0;
    for (const [index, weight] of weights.entries()) {
      mass += weight;
      lowest = descending[index] ?? NaN;
      if (mass >= goal) break;
    }
  }
  if (params.minP === 0) return lowest;
  return Math.max(lowest, highest + temperature * Math.log(Math.fround(params.minP)));
}

/** The tokens that sampling may return, in order of id. */
export function keptTokens(logits: Numbers, params: SamplingParams): number[] {
  const lowest = lowestKept(logits, params);
  return Array.from(logits, (logit, id) => (logit >= lowest ? id : -1)).filter((id) => id >= 0);
}

/** Probability of every token when the kept ones share it; [vocab], 0 for the others. */
export function sampledProbabilities(logits: Numbers, params: SamplingParams): number[] {
  const lowest = lowestKept(logits, params);
  const scaled = Array.from(logits, (logit) =>
    logit >= lowest ? logit / Math.fround(params.temperature) : -Infinity,
  );
  return logProbabilities(scaled).map(Math.exp);
}

/** The score whose largest wins the draw, [vocab]: Gumbel noise from a hash of (seed, position, id) on top of the scaled logits. */
export function gumbelScores(
  logits: Numbers,
  params: SamplingParams,
  position: number,
  lowest = lowestKept(logits, params),
): number[] {
  const highest = largest(logits);
  return Array.from(logits, (logit, id) => {
    if (logit < lowest) return -Infinity;
    const uniform = (pcg3d(id, position, params.seed) + 0.5) / 2 ** 32;
    return (logit - highest) / Math.fround(params.temperature) - Math.log(-Math.log1p(-uniform));
  });
}

export function largest(values: Numbers): number {
  let highest = -Infinity;
  for (const value of values) highest = Math.max(highest, value);
  return highest;
}

/** First word of pcg3d: Jarzynski and Olano, Hash Functions for GPU Rendering, JCGT 2020. */
function pcg3d(first: number, second: number, third: number): number {
  let [x, y, z] = [first, second, third].map((word) => (Math.imul(word, 1664525) + 1013904223) >>> 0) as [
    number,
    number,
    number,
  ];
  const mix = (): void => {
    x = (x + Math.imul(y, z)) >>> 0;
    y = (y + Math.imul(z, x)) >>> 0;
    z = (z + Math.imul(x, y)) >>> 0;
  };
  mix();
  x ^= x >>> 16;
  y ^= y >>> 16;
  z ^= z >>> 16;
  mix();
  return x >>> 0;
}
