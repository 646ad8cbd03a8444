/** Marks for words on a terminal; each gives the words back as they are where there are to be no colours. */
export interface Colours {
  readonly dim: (words: string) => string;
  readonly bold: (words: string) => string;
  readonly green: (words: string) => string;
  readonly yellow: (words: string) => string;
  readonly red: (words: string) => string;
}

const RESET = '\u001b[0m';
const CODES = { dim: 2, bold: 1, green: 32, yellow: 33, red: 31 } as const;

/** None where the output is no terminal, or `NO_COLOR` is set: https://no-color.org. */
export function colours(
  output: { readonly isTTY?: boolean },
  env: Readonly<Record<string, string | undefined>> = process.env,
): Colours {
  const isColoured = output.isTTY === true && (env['NO_COLOR'] ?? '') === '';
  const mark = (code: number) => (words: string) =>
    isColoured && words !== '' ? `\u001b[${code}m${words}${RESET}` : words;
  return {
    dim: mark(CODES.dim),
    bold: mark(CODES.bold),
    green: mark(CODES.green),
    yellow: mark(CODES.yellow),
    red: mark(CODES.red),
  };
}
