/**
 * Softmax attention of one query head in float64, as the paper states it.
 * @param query [headDim]
 * @param keys [tokens][headDim]: the keys that the query may see
 * @param values [tokens][headDim]
 * @returns [headDim]
 */
export function attend(
  query: ArrayLike<number>,
  keys: readonly ArrayLike<number>[],
  values: readonly ArrayLike<number>[],
  scale: number,
): Float64Array {
  const scores = keys.map((key) => scale * dot(query, key));
  const highest = Math.max(...scores);
  const weights = scores.map((score) => Math.exp(score - highest));
  const sum = weights.reduce((total, weight) => total + weight, 0);
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
