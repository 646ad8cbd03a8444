/** Digits behind the point that an answer may have. */
const MAX_FRACTION_DIGITS = 6;

/** What may stand at one place, both ends included. */
type Place = readonly [least: number, most: number];
/** Numbers of one length, and what follows them. */
interface Written {
  readonly places: readonly Place[];
  readonly ending: string;
}

/** Whole numbers from `first` to `last`, both safe integers, in xgrammar's EBNF; null where there is none. */
export function integerRule(first: number, last: number): string | null {
  return signed(wholes(first, last), wholes(-last, Math.min(-first, Number.MAX_SAFE_INTEGER), 1));
}

/**
 * Numbers from `least` to `most`, whole ones and those with a fraction between two whole ones in the range; null where there is none.
 * Fractions beyond the outermost whole numbers are left out.
 */
export function numberRule(least: number, most: number): string | null {
  const [first, last] = [Math.ceil(least), Math.floor(most)];
  return signed(
    [...wholes(first, last), ...wholes(first, last - 1, 0, fraction())],
    [...wholes(-last, -first, 1), ...wholes(-last, -first - 1, 0, fraction())],
  );
}

function signed(positive: readonly Written[], negative: readonly Written[]): string | null {
  const branches = [
    ...(positive.length > 0 ? [digitsRule(positive)] : []),
    ...(negative.length > 0 ? [`("-" ${digitsRule(negative)})`] : []),
  ];
  return branches.length === 0 ? null : `(${branches.join(' | ')})`;
}

/** From `first` or `least` to `last`. Numbers of one length are cut where only their last digits are free: 168 to 1000 is 16[8-9], 1[7-9]x, [2-9]xx, 1000. */
function wholes(first: number, last: number, least = 0, ending = ''): Written[] {
  const all: Written[] = [];
  let from = Math.max(first, least);
  while (from <= last) {
    const free = freeDigits(from, last);
    const step = 10 ** free;
    const digits = Array.from(String(from / step), Number);
    const digit = digits.pop() ?? 0;
    const count = from === 0 ? 1 : Math.min(10 - digit, Math.floor((last - from + 1) / step));
    const places: Place[] = [
      ...digits.map((one): Place => [one, one]),
      [digit, digit + count - 1],
      ...Array.from({ length: free }, (): Place => [0, 9]),
    ];
    all.push({ places, ending });
    from += count * step;
  }
  return all;
}

/** How many of the last digits of `from` may be any, with all that comes of it up to `last`. */
function freeDigits(from: number, last: number): number {
  let free = 0;
  const isFree = (count: number) => from % 10 ** count === 0 && from + 10 ** count - 1 <= last;
  while (free + 1 < String(from).length && isFree(free + 1)) free += 1;
  return free;
}

/** No two alternatives begin alike: xgrammar 0.1.27 mixes up those that do, and takes what none of them has. */
function digitsRule(numbers: readonly Written[]): string {
  const endings = new Set(numbers.flatMap(({ places, ending }) => (places.length === 0 ? [ending] : [])));
  const branches = Array.from(endings, (ending) => (ending === '' ? '""' : ending));
  const byRest = new Map<string, { readonly digits: number[]; readonly rest: readonly Written[] }>();
  for (let digit = 0; digit <= 9; digit += 1) {
    const rest = numbers.flatMap(({ places: [place, ...places], ending }) =>
      place !== undefined && place[0] <= digit && digit <= place[1] ? [{ places, ending }] : [],
    );
    if (rest.length === 0) continue;
    const key = JSON.stringify(rest);
    const known = byRest.get(key);
    if (known === undefined) byRest.set(key, { digits: [digit], rest });
    else known.digits.push(digit);
  }
  for (const { digits, rest } of byRest.values()) branches.push(`[${digits.join('')}] ${digitsRule(rest)}`);
  return `(${branches.map((branch) => `(${branch})`).join(' | ')})`;
}

function fraction(): string {
  let rule = '[0-9]';
  for (let digits = 1; digits < MAX_FRACTION_DIGITS; digits += 1) rule = `[0-9] ("" | (${rule}))`;
  return `"." ${rule}`;
}
