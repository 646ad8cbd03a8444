/**
 * Softmax attention of one query head in float64, as the paper states it.
 * @param query [headDim]
 * @param keys [tokens][headDim]: the keys that the query may see
 * @param values [tokens][headDim]
 * @param softCap a score s becomes softCap · tanh(s / softCap).
 * @param sink the logit of one more key, which has no value.
 * @returns [headDim]
 */
export function attend(
  query: ArrayLike<number>,
  keys: readonly ArrayLike<number>[],
  values: readonly ArrayLike<number>[],
  scale: number,
  { softCap, sink }: { readonly softCap?: number | undefined; readonly sink?: number | undefined } = {},
): Float64Array {
  const scores = keys.map((key) => {
    const score = scale * dot(query, key);
    return softCap === undefined ? score : softCap * Math.tanh(score / softCap);
  });
  const highest = Math.max(...scores, sink ?? -Infinity);
  const weights = scores.map((score) => Math.exp(score - highest));
  const sinkWeight = sink === undefined ? 0 : Math.exp(sink - highest);
  const sum = weights.reduce((total, weight) => total + weight, sinkWeight);
  return Float64Array.from(query, (_, element) => {
    const weighted = values.reduce(
      (total, value, token) => total + (weights[token] ?? NaN) * (value[element] ?? NaN),
      0,
    );
    return weighted / sum;
  });
}

function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let index = 0; index < a.length; index++) sum += (a[index] ?? NaN) * (b[index] ?? NaN);
  return sum;
}
