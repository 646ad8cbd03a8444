import { referenceForward } from './transformer.ts';
import type { ReferenceWeights } from './transformer.ts';

/** golden.py looks at the first 512 tokens of each text. */
export const HELDOUT_WINDOW_TOKENS = 512;

/** Negative log-likelihoods of tokens that were predicted, added up. */
export interface NllSum {
  readonly negativeLogLikelihood: number;
  readonly tokens: number;
}

/** Of every token of a text but the first, after those before it. */
export function textNll(weights: ReferenceWeights, ids: readonly number[]): NllSum {
  const window = ids.slice(0, HELDOUT_WINDOW_TOKENS);
  const { vocabSize } = weights.architecture;
  const { logits } = referenceForward(weights, window);
  const targets = window.slice(1);
  const negativeLogLikelihood = targets.reduce(
    (sum, target, row) =>
      sum - logProbability(logits.subarray(row * vocabSize, (row + 1) * vocabSize), target),
    0,
  );
  return { negativeLogLikelihood, tokens: targets.length };
}

/** @returns the mean per token over all texts. */
export function meanNll(weights: ReferenceWeights, texts: readonly (readonly number[])[]): number {
  const sums = texts.map((ids) => textNll(weights, ids));
  const total = sums.reduce((sum, { negativeLogLikelihood }) => sum + negativeLogLikelihood, 0);
  return total / sums.reduce((sum, { tokens }) => sum + tokens, 0);
}

export function logProbability(logits: Float64Array | Float32Array, target: number): number {
  let largest = -Infinity;
  for (const logit of logits) largest = Math.max(largest, logit);
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - largest);
  return (logits[target] ?? NaN) - largest - Math.log(sum);
}
