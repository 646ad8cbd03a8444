/**
 * By bisection: the rows of an answer come one by one, as many pieces as tokens.
 * @param pieces by rising position of their first row.
 * @returns index of the last piece that begins at or before the position; 0 where none does.
 */
export function pieceIndexAt(pieces: readonly { readonly position: number }[], position: number): number {
  let low = 0;
  let high = pieces.length - 1;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if ((pieces[middle]?.position ?? 0) <= position) low = middle;
    else high = middle - 1;
  }
  return low;
}
