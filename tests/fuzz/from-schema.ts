import type { GenericSchema } from 'valibot';
import * as v from 'valibot';
import type { Dice } from './dice.ts';

/** What a valibot schema is made of, as far as ours go. */
interface Node {
  readonly type: string;
  readonly pipe?: readonly Step[];
  readonly entries?: Readonly<Record<string, Node>>;
  readonly options?: readonly unknown[];
  readonly item?: Node;
  readonly items?: readonly Node[];
  readonly wrapped?: Node;
  readonly literal?: unknown;
  readonly key?: Node;
  readonly value?: Node;
}

interface Step {
  readonly kind: string;
  readonly type: string;
  readonly requirement?: unknown;
}

export interface SchemaOptions {
  /** Values for schemas that chance hardly ever meets, by identity. */
  readonly instead?: ReadonlyMap<unknown, (dice: Dice) => unknown>;
  /** Hex ids to use again and again, by their number of digits, so that messages are about each other. */
  readonly ids?: (dice: Dice, digits: number) => string;
}

const MAX_TRIES = 200;
const LONG_TEXT_CHANCE = 0.01;
const LONG_LIST_CHANCE = 0.02;
const SHORT_TEXT = 12;
const SHORT_LIST = 3;
/** Of any list or text, so that one value is not all of a run. */
const MAX_ITEMS = 64;
const MAX_TEXT = 3000;
const LARGEST = 1e18;
const CHARACTERS = ['a', 'b', 'Z', '0', '9', ' ', '-', '_', '/', '.', ':', '"', '\\', 'é', '\n', '😀'];

/** A random value that the schema takes: new message types need no generator of their own. */
export function fromSchema(schema: GenericSchema, dice: Dice, options: SchemaOptions = {}): unknown {
  return valueOf(schema, dice, options);
}

function valueOf(node: Node, dice: Dice, options: SchemaOptions): unknown {
  const instead = options.instead?.get(node);
  if (instead !== undefined) return instead(dice);
  const needsTries = node.pipe?.some(({ type }) => type === 'check') === true;
  if (!needsTries) return draw(node, dice, options);
  for (let attempt = 0; attempt < MAX_TRIES; attempt++) {
    const value = draw(node, dice, options);
    if (v.is(node as unknown as GenericSchema, value)) return value;
  }
  throw new Error(`No value of a schema of type ${node.type} was found in ${MAX_TRIES} tries.`);
}

function draw(node: Node, dice: Dice, options: SchemaOptions): unknown {
  const again = (child: unknown) => valueOf(child as Node, dice, options);
  switch (node.type) {
    case 'variant':
    case 'union':
      return again(dice.oneOf(node.options ?? []));
    case 'object':
    case 'strict_object':
    case 'loose_object':
      return drawObject(node, dice, options);
    case 'array': {
      const length = lengthOf(node, dice, SHORT_LIST, LONG_LIST_CHANCE, MAX_ITEMS);
      return Array.from({ length }, () => again(node.item));
    }
    case 'tuple':
    case 'strict_tuple':
      return (node.items ?? []).map(again);
    case 'record': {
      const keys = Array.from({ length: dice.below(3) }, () => String(again(node.key)));
      return Object.fromEntries(keys.map((key) => [key, again(node.value)]));
    }
    case 'nullable':
    case 'nullish':
      return dice.chance(0.3) ? null : again(node.wrapped);
    case 'exact_optional':
    case 'optional':
      return again(node.wrapped);
    case 'picklist':
      return dice.oneOf(node.options ?? []);
    case 'literal':
      return node.literal;
    case 'boolean':
      return dice.chance(0.5);
    case 'unknown':
    case 'any':
      return dice.oneOf<unknown>([null, 7, 'text', [], { kind: 'ask' }]);
    case 'number':
      return drawNumber(node, dice);
    case 'string':
      return drawText(node, dice, options);
    default:
      throw new Error(`No values of schemas of type ${node.type} are known. Add them to from-schema.ts.`);
  }
}

function drawObject({ entries = {} }: Node, dice: Dice, options: SchemaOptions): Record<string, unknown> {
  const value: Record<string, unknown> = {};
  for (const [key, child] of Object.entries(entries)) {
    const isOptional = ['exact_optional', 'optional', 'nullish'].includes(child.type);
    if (!isOptional || dice.chance(0.6)) value[key] = valueOf(child, dice, options);
  }
  return value;
}

function drawNumber(node: Node, dice: Dice): number {
  const isWhole = requirement(node, 'integer') !== undefined;
  const above = requirement(node, 'gt_value');
  const least = numberOf(requirement(node, 'min_value')) ?? numberOf(above) ?? (isWhole ? -1e9 : -1e6);
  const most = Math.min(numberOf(requirement(node, 'max_value')) ?? LARGEST, Math.max(LARGEST, least));
  const value = dice.oneOf([
    () => least,
    () => most,
    () => least + 1,
    () => dice.between(least, most),
    // As many small numbers as large ones.
    () => Math.min(most, least + Math.exp(dice.between(0, Math.log(1 + most - least)))),
  ])();
  const inside = Math.min(most, Math.max(least, isWhole ? Math.round(value) : value));
  return above !== undefined && inside <= least ? Math.min(most, least + 1) : inside;
}

function drawText(node: Node, dice: Dice, options: SchemaOptions): string {
  const pattern = requirement(node, 'regex');
  if (pattern instanceof RegExp) {
    const digits = /^\^\[0-9a-f\]\{(\d+)\}\$$/.exec(pattern.source)?.[1];
    if (digits === undefined)
      throw new Error(`No texts of ${String(pattern)} are known. Add them to from-schema.ts.`);
    return options.ids?.(dice, Number(digits)) ?? dice.hexDigits(Number(digits));
  }
  const length = lengthOf(node, dice, SHORT_TEXT, LONG_TEXT_CHANCE, MAX_TEXT);
  return Array.from({ length }, () => dice.oneOf(CHARACTERS)).join('');
}

function lengthOf(node: Node, dice: Dice, usual: number, longChance: number, cap: number): number {
  const least = numberOf(requirement(node, 'min_length')) ?? 0;
  const most = Math.max(least, Math.min(cap, numberOf(requirement(node, 'max_length')) ?? cap));
  return dice.chance(longChance) ? most : Math.min(most, least + dice.below(usual + 1));
}

/** What the schema asks for by an action of this type; `null` where the action needs no word, undefined without one. */
function requirement(node: Node, type: string): unknown {
  const step = node.pipe?.find((action) => action.type === type);
  return step === undefined ? undefined : (step.requirement ?? null);
}

function numberOf(value: unknown): number | undefined {
  return typeof value === 'number' ? value : undefined;
}
