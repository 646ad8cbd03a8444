import type { GenericSchema } from 'valibot';
import { hopSchema, routeSchema } from '../../src/protocol/route.ts';
import type { Hop } from '../../src/protocol/route.ts';
import {
  clientMessageSchema,
  decodeClientMessage,
  decodeServerMessage,
  serverMessageSchema,
} from '../../src/protocol/signaling.ts';
import type { Dice } from './dice.ts';
import { fromSchema } from './from-schema.ts';
import type { SchemaOptions } from './from-schema.ts';
import { mutateJson } from './json-mutations.ts';
import { Tally } from './tally.ts';

const SPECIMENS = 2000;
const SHOWN_CHARACTERS = 300;

/** Hops and routes that hold together, which chance hardly ever makes. */
export function withRoutes(ids?: SchemaOptions['ids']): SchemaOptions {
  const id = (dice: Dice, digits: number) => ids?.(dice, digits) ?? dice.hexDigits(digits);
  const hopsOf = (dice: Dice, count: number): Hop[] => {
    let layerEnd = 0;
    return Array.from({ length: count }, () => {
      const layerStart = layerEnd;
      layerEnd += dice.whole(1, 6);
      return { peer: id(dice, 32) as Hop['peer'], layerStart, layerEnd };
    });
  };
  const instead = new Map<unknown, (dice: Dice) => unknown>([
    [hopSchema, (dice) => hopsOf(dice, 1)[0]],
    [
      routeSchema,
      (dice) => ({
        requestId: id(dice, 16),
        epoch: dice.below(3),
        model: 'model',
        hops: hopsOf(dice, dice.whole(1, 4)),
      }),
    ],
  ]);
  return { instead, ...(ids && { ids }) };
}

/** Sound messages of all types that a schema has, and mutations of them. */
export class MessageCorpus {
  readonly #specimens: readonly unknown[];

  constructor(
    schema: GenericSchema,
    private readonly dice: Dice,
    options: SchemaOptions = withRoutes(),
  ) {
    this.#specimens = Array.from({ length: SPECIMENS }, () => fromSchema(schema, dice, options));
  }

  sound(): unknown {
    return this.dice.oneOf(this.#specimens);
  }

  /** JSON text, or what once was. */
  mutated(): string {
    return mutateJson(this.sound(), this.sound(), this.dice);
  }
}

/** Both decoders: `bad-message`, or a message that says the same after it was written and read again. */
export function fuzzMessages(messages: number, dice: Dice): Tally[] {
  return [
    fuzzDecoding('client messages', clientMessageSchema, decodeClientMessage, messages, dice.fork('client')),
    fuzzDecoding('server messages', serverMessageSchema, decodeServerMessage, messages, dice.fork('server')),
  ];
}

function fuzzDecoding(
  target: string,
  schema: GenericSchema,
  decode: (json: string) => unknown,
  messages: number,
  dice: Dice,
): Tally {
  const tally = new Tally(target);
  const corpus = new MessageCorpus(schema, dice);
  for (let count = 0; count < messages; count++) {
    const json = corpus.mutated();
    const input = () => json.slice(0, SHOWN_CHARACTERS);
    let message: unknown;
    try {
      message = decode(json);
    } catch (thrown) {
      tally.reject(thrown, 'bad-message', input);
      continue;
    }
    tally.accept();
    try {
      // As text, which knows no negative zero.
      const text = JSON.stringify(message);
      if (JSON.stringify(decode(text)) !== text) tally.problem('says something else', input);
    } catch (thrown) {
      tally.problem(`is taken once and not again: ${String(thrown)}`, input);
    }
  }
  return tally;
}
