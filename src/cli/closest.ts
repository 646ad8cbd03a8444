/** A slip of the fingers is this many letters at most. */
const MAX_SLIPS = 2;

/** The name that was probably meant, or null where none is near: at most two letters more, fewer or others. */
export function closest(given: string, names: readonly string[]): string | null {
  let best: { readonly name: string; readonly slips: number } | null = null;
  for (const name of names) {
    const slips = name.startsWith(given) && given.length > 1 ? 1 : distance(given, name);
    const isNear = slips <= MAX_SLIPS && slips < name.length;
    if (isNear && (best === null || slips < best.slips)) best = { name, slips };
  }
  return best?.name ?? null;
}

/** Letters to change, put in or leave out (Levenshtein). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (const [index, letter] of Array.from(a).entries()) {
    const next = [index + 1];
    for (const [column, other] of Array.from(b).entries()) {
      const replaced = (row[column] ?? 0) + (letter === other ? 0 : 1);
      next.push(Math.min(replaced, (row[column + 1] ?? 0) + 1, (next[column] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}
