/** One head, normalised by its root mean square and scaled by `weight`. */
export function rmsNormHead(head: readonly number[], weight: readonly number[], epsilon: number): number[] {
  const meanSquare = head.reduce((sum, value) => sum + value * value, 0) / head.length;
  return head.map((value, index) => (value / Math.sqrt(meanSquare + epsilon)) * (weight[index] ?? NaN));
}

/** Hugging Face's `x * cos + rotate_half(x) * sin`, where rotate_half([a, b]) = [-b, a]. */
export function rotateHalf(
  head: readonly number[],
  position: number,
  inverseFrequencies: Float64Array,
): number[] {
  const half = head.length / 2;
  return head.map((value, index) => {
    const angle = position * (inverseFrequencies[index % half] ?? NaN);
    const partner = index < half ? -(head[index + half] ?? NaN) : (head[index - half] ?? NaN);
    return value * Math.cos(angle) + partner * Math.sin(angle);
  });
}
