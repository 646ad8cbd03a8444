/** Rows of activations rounded to int8 in groups, in exact integers. */
export interface QuantisedRows {
  /** [rows, columns], each -127 to 127. */
  readonly codes: Float64Array;
  /** [rows, columns / group] */
  readonly scales: Float64Array;
  /** Of each element, how far value / scale is from the nearest number between two codes, where rounding turns over. */
  readonly margins: Float64Array;
}

export const ACTIVATION_GROUP = 32;

/**
 * Symmetric rounding, half to even: the largest magnitude of a group becomes ±127.
 * @param values [rows, columns], columns a multiple of the group.
 */
export function quantiseActivations(values: Float64Array): QuantisedRows {
  const scales = new Float64Array(values.length / ACTIVATION_GROUP);
  const margins = new Float64Array(values.length);
  const codes = values.map((value, index) => {
    const group = Math.floor(index / ACTIVATION_GROUP);
    if (index % ACTIVATION_GROUP === 0) {
      const members = values.subarray(index, index + ACTIVATION_GROUP);
      scales[group] = members.reduce((largest, member) => Math.max(largest, Math.abs(member)), 0) / 127;
    }
    const scale = scales[group] ?? NaN;
    const position = scale === 0 ? 0 : value / scale;
    margins[index] = Math.abs(position - Math.floor(position) - 0.5);
    return roundHalfToEven(position);
  });
  return { codes, scales, margins };
}

/** What the rounded rows stand for. */
export function roundActivations(values: Float64Array): Float64Array {
  const { codes, scales } = quantiseActivations(values);
  return codes.map((code, index) => code * (scales[Math.floor(index / ACTIVATION_GROUP)] ?? NaN));
}

function roundHalfToEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  if (rest !== 0.5) return rest < 0.5 ? below : below + 1;
  return below % 2 === 0 ? below : below + 1;
}
