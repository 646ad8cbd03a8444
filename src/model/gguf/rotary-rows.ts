import type { Architecture } from '../architecture.ts';

/**
 * Files of the `llama` architecture keep the rows of Q and K so that the two of a rotated pair are neighbours, where Hugging Face has
 * them half a head apart. This puts the rows back; quantised blocks lie inside rows and move with them.
 * @param bytes of the whole matrix, row after row. @returns them, or a copy in the other order.
 */
export function restoreRotaryRows(
  name: string,
  bytes: Uint8Array<ArrayBuffer>,
  { family, headDim, headCount, kvHeadCount }: Architecture,
): Uint8Array<ArrayBuffer> {
  const isQuery = name.endsWith('.q_proj.weight');
  if (family !== 'llama' || !(isQuery || name.endsWith('.k_proj.weight'))) return bytes;
  const rows = (isQuery ? headCount : kvHeadCount) * headDim;
  const rowBytes = bytes.length / rows;
  const restored = new Uint8Array(bytes.length);
  for (let row = 0; row < rows; row++) {
    const inHead = row % headDim;
    const isSecond = inHead >= headDim / 2;
    const pair = isSecond ? inHead - headDim / 2 : inHead;
    const stored = row - inHead + 2 * pair + (isSecond ? 1 : 0);
    restored.set(bytes.subarray(stored * rowBytes, (stored + 1) * rowBytes), row * rowBytes);
  }
  return restored;
}
