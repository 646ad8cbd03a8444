/** Whether no value is NaN or infinite. Without a branch per value, because every activation that travels passes here. */
export function allFinite(values: Float32Array): boolean {
  let residue = 0;
  for (const value of values) residue += value * 0;
  return residue === 0;
}
