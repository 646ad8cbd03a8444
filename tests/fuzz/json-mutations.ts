import type { Dice } from './dice.ts';

const MAX_REPEATS = 2000;
/** Of values; texts go deeper than any function that calls itself. */
const MAX_DEPTH = 200;
const MAX_TEXT_DEPTH = 10_000;
const MAX_REPEATED_CHARACTERS = 20_000;

const EDGE_VALUES: readonly unknown[] = [
  ...[
    null,
    true,
    false,
    0,
    -0,
    -1,
    1,
    0.5,
    15,
    16,
    17,
    255,
    256,
    65_535,
    65_536,
    2 ** 31,
    2 ** 32 - 1,
    2 ** 32,
  ],
  ...[2 ** 53, -(2 ** 53), 1e18, 1.1e18, 1e308, -1e308, 5e-324, 1e-9],
  ...['', 'x', '0', '1', 'null', '__proto__', 'constructor', '\u0000', '\ud800', '\u2028', 'é'.repeat(300)],
  ...['0'.repeat(16), 'f'.repeat(32), 'F'.repeat(32), 'g'.repeat(32), '0'.repeat(33), 'x'.repeat(5000)],
  ...[[], {}, [[]], [null], { type: 'hello' }, { length: 1e9 }, { toString: 1 }],
];

/** JSON texts that no value gives. */
const EDGE_TEXTS = [
  '1e999',
  '-1e999',
  '1e-999',
  '01',
  '.5',
  'NaN',
  'Infinity',
  'undefined',
  '{',
  ']',
  '"',
  '\\u0000',
];

type Parent = Record<string, unknown>;

interface Place {
  readonly parent: Parent;
  readonly key: string;
}

/**
 * The value, changed somewhere: a field of another type or at the edge of its range, gone, twice, too long, too deep, or taken from
 * another message.
 * @param donor another value of the same kind. @returns JSON text, mostly of an object.
 */
export function mutateJson(value: unknown, donor: unknown, dice: Dice): string {
  const root = { value: cloned(value) } as Parent;
  const rounds = dice.oneOf([1, 1, 1, 2, 4]);
  for (let round = 0; round < rounds; round++) {
    const found = places(root);
    if (found.length > 0) change(dice.oneOf(found), donor, dice);
  }
  const text = JSON.stringify(root['value']) as string | undefined;
  return dice.chance(0.15) ? mutateText(text ?? '', dice) : (text ?? '');
}

/** The text, damaged anywhere. */
export function mutateText(text: string, dice: Dice): string {
  const at = dice.below(text.length + 1);
  return dice.oneOf([
    () => text.slice(0, at),
    () => text.slice(at),
    () => text + text.slice(at),
    () => text.slice(0, at) + dice.oneOf(EDGE_TEXTS) + text.slice(at),
    () => text.slice(0, at) + String.fromCharCode(dice.below(0x1_0000)) + text.slice(at + 1),
    () => text.replace(/-?\d+(\.\d+)?/, dice.oneOf(EDGE_TEXTS)),
    () => `${' '.repeat(dice.below(64))}${text}\n`,
    () => text.replace('{', '{"__proto__":{"type":"hello"},'),
    () => text.repeat(2),
    () => nestedText(text, dice),
  ])();
}

/** One of its values deeper than any writer goes. */
function nestedText(text: string, dice: Dice): string {
  const values = [...text.matchAll(/:("[^"]*"|[\d.]+|\[\]|null)/g)];
  if (values.length === 0) return text;
  const { index, 0: value } = dice.oneOf(values);
  const deep = `:${'['.repeat(MAX_TEXT_DEPTH)}${']'.repeat(MAX_TEXT_DEPTH)}`;
  return text.slice(0, index) + deep + text.slice(index + value.length);
}

function change({ parent, key }: Place, donor: unknown, dice: Dice): void {
  const old = parent[key];
  dice.oneOf([
    () => (parent[key] = cloned(dice.oneOf(EDGE_VALUES))),
    () => (parent[key] = cloned(dice.oneOf(EDGE_VALUES))),
    () => (parent[key] = typeof old === 'number' ? old + dice.oneOf([-1, 1, 0.5, -16, 16]) : [old]),
    () => void Reflect.deleteProperty(parent, key),
    () => (parent[dice.oneOf(['extra', 'type', 'epoch', 'toJSON', ''])] = cloned(old)),
    () => (parent[key] = repeated(old, dice)),
    () => (parent[key] = nested(old, dice)),
    () => {
      const other = dice.oneOf(places({ value: donor }));
      parent[key] = cloned(other.parent[other.key]);
    },
  ])();
}

function repeated(value: unknown, dice: Dice): unknown {
  const count = dice.oneOf([2, 17, 65, 129, 257, MAX_REPEATS]);
  if (typeof value === 'string') return value.repeat(count).slice(0, MAX_REPEATED_CHARACTERS);
  const item = Array.isArray(value) && value.length > 0 ? (value[0] as unknown) : value;
  const isSmall = JSON.stringify(item ?? null).length * count < MAX_REPEATED_CHARACTERS;
  return isSmall ? Array.from({ length: count }, () => item) : [item, item];
}

function nested(value: unknown, dice: Dice): unknown {
  let inner = value;
  for (let depth = dice.oneOf([2, 20, MAX_DEPTH]); depth > 0; depth--)
    inner = dice.chance(0.5) ? [inner] : { a: inner };
  return inner;
}

/** JSON values only, and several times as fast for small ones as a structured clone. */
function cloned(value: unknown): unknown {
  return value === undefined ? undefined : (JSON.parse(JSON.stringify(value)) as unknown);
}

/** Every field and item below, and the root itself. */
function places(root: Parent): Place[] {
  const found: Place[] = [];
  const visit = (parent: Parent) => {
    for (const key of Object.keys(parent)) {
      found.push({ parent, key });
      const child = parent[key];
      if (found.length < MAX_REPEATS && typeof child === 'object' && child !== null) visit(child as Parent);
    }
  };
  visit(root);
  return found;
}
