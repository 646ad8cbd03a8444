import type { SamplingParams } from '../../src/protocol/sampling.ts';

type Draw = Pick<SamplingParams, 'temperature' | 'topK' | 'topP' | 'seed'>;

/** log softmax at temperature 1, in float64. */
export function logProbabilities(logits: ArrayLike<number>): number[] {
  const values = Array.from(logits);
  const highest = values.reduce((max, value) => Math.max(max, value), -Infinity);
  const sum = values.reduce((total, value) => total + Math.exp(value - highest), 0);
  return values.map((value) => value - highest - Math.log(sum));
}

/**
 * The tokens that sampling may return, in order of id: top-k keeps what is at least the k-th largest logit, top-p keeps of the rest
 * the most probable tokens until their mass reaches p of it. Equal logits stay or go together.
 */
export function keptTokens(logits: ArrayLike<number>, params: Draw): number[] {
  const temperature = Math.fround(params.temperature);
  const descending = Array.from(logits, (logit, id) => ({ logit, id })).sort((a, b) => b.logit - a.logit);
  const highest = descending[0]?.logit ?? NaN;
  const kthLargest = params.topK === 0 ? -Infinity : (descending[params.topK - 1]?.logit ?? -Infinity);
  const afterTopK = descending.filter(({ logit }) => logit >= kthLargest);
  const weights = afterTopK.map(({ logit }) => Math.exp((logit - highest) / temperature));
  const goal = Math.fround(params.topP) * weights.reduce((sum, weight) => sum + weight, 0);
  let mass = 0;
  let previous = highest;
  const kept: number[] = [];
  for (const [index, { logit, id }] of afterTopK.entries()) {
    if (params.topP < 1 && mass >= goal && logit < previous) break;
    mass += weights[index] ?? NaN;
    previous = logit;
    kept.push(id);
  }
  return kept.sort((a, b) => a - b);
}

/** Probability of every token when the kept ones share it; [vocab], 0 for the others. */
export function sampledProbabilities(logits: ArrayLike<number>, params: Draw): number[] {
  const kept = new Set(keptTokens(logits, params));
  const scaled = Array.from(logits, (logit, id) =>
    kept.has(id) ? logit / Math.fround(params.temperature) : -Infinity,
  );
  return logProbabilities(scaled).map(Math.exp);
}

/** The score whose largest wins the draw, [vocab]: Gumbel noise from a hash of (seed, position, id) on top of the scaled logits. */
export function gumbelScores(logits: ArrayLike<number>, params: Draw, position: number): number[] {
  const kept = new Set(keptTokens(logits, params));
  const highest = Array.from(logits).reduce((max, value) => Math.max(max, value), -Infinity);
  return Array.from(logits, (logit, id) => {
    if (!kept.has(id)) return -Infinity;
    const uniform = (pcg3d(id, position, params.seed) + 0.5) / 2 ** 32;
    return (logit - highest) / Math.fround(params.temperature) - Math.log(-Math.log1p(-uniform));
  });
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
