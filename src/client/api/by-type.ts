import * as v from 'valibot';
import { describeValue } from './describe-value.ts';

/**
 * An object of one of several kinds, by its `type`. One of another kind is refused by that name, at its `type`.
 * @param refusal of a type that is none of them: a sentence with what to do instead.
 * @param untyped the kind of an object without a type, where the standard has one.
 */
export function byType<const Schemas extends Readonly<Record<string, v.GenericSchema>>>(
  schemas: Schemas,
  refusal: (type: string) => string,
  untyped?: keyof Schemas & string,
): v.GenericSchema<unknown, v.InferOutput<Schemas[keyof Schemas]>> {
  return v.lazy((input) => {
    const type = typeOf(input) ?? untyped;
    const schema: v.GenericSchema | undefined =
      typeof type === 'string' && Object.hasOwn(schemas, type) ? schemas[type] : undefined;
    return schema ?? refusing(type, refusal);
  });
}

/**
 * A text, or an array of the parts of one; what is wrong with a part is said of the part.
 * @param separator between the parts.
 */
export function textOr(
  part: v.GenericSchema<unknown, string>,
  separator = '',
): v.GenericSchema<unknown, string> {
  const parts = v.pipe(
    v.array(part),
    v.transform((texts) => texts.join(separator)),
  );
  return v.lazy((input) => (Array.isArray(input) ? parts : textOrParts));
}

/** For what it says of others: that either would do. */
const textOrParts = v.pipe(
  v.union([v.string(), v.array(v.never())]),
  v.transform((text) => (typeof text === 'string' ? text : '')),
);

function refusing(type: unknown, refusal: (type: string) => string): v.GenericSchema {
  if (typeof type !== 'string') return v.object({ type: v.string() });
  return v.object({
    type: v.custom(() => false, `is ${describeValue(type)}, which is not supported. ${refusal(type)}`),
  });
}

function typeOf(input: unknown): unknown {
  return typeof input === 'object' && input !== null && 'type' in input
    ? (input.type ?? undefined)
    : undefined;
}
