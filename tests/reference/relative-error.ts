/**
 * Relative L2 error.
 * @throws Error when the sides differ in length, or the expected side is zero and so could not tell anything.
 */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) {
    throw new Error(`${actual.length} values were compared to ${expected.length}`);
  }
  const norm = Array.from(expected).reduce((sum, value) => sum + value * value, 0);
  if (!(norm > 0)) throw new Error('nothing is compared to zeros');
  const error = Array.from(expected).reduce(
    (sum, value, index) => sum + (value - (actual[index] ?? NaN)) ** 2,
    0,
  );
  return Math.sqrt(error / norm);
}
