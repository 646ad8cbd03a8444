import * as v from 'valibot';
import { isJsonObject } from '../../model/json.ts';
import { SkeinError } from '../../protocol/errors.ts';
import { describeValue } from './describe-value.ts';

/** What a refusal repeats of a parameter's name and of a reason, which may be made of what a caller sent. */
const MAX_PARAM_CHARACTERS = 200;
const MAX_REASON_CHARACTERS = 400;

/** A parameter that may be absent; null is the same, as in OpenAI's API. */
export function optional<Schema extends v.GenericSchema>(schema: Schema) {
  return v.nullish(schema);
}

/**
 * A parameter that the standard knows and we do not do. It is refused by name unless it is absent, or asks for what happens anyway.
 * @param why a sentence, with what to do instead.
 */
export function refused(why: string, ...harmless: readonly (string | number | boolean)[]) {
  return v.optional(
    v.custom<unknown>(
      (value) => value === null || harmless.some((harmlessValue) => harmlessValue === value),
      `is not supported. ${why}`,
    ),
  );
}

/** A parameter that changes nothing here, and may: its type is checked, its value dropped. */
export function ignored<Schema extends v.GenericSchema>(schema: Schema) {
  return v.pipe(
    v.nullish(schema),
    v.transform(() => undefined),
  );
}

/** An object with any names; an array, which valibot takes for one, is none. */
export function namedValues<Schema extends v.GenericSchema>(schema: Schema) {
  return v.pipe(v.custom<object>(isJsonObject, 'must be an object'), v.record(v.string(), schema));
}

/**
 * The body of a request, checked. Objects in the schema are strict: an unknown parameter is refused by its name.
 * @param json what `JSON.parse` gave.
 * @throws SkeinError `bad-argument`; `data.param` names the parameter as OpenAI does: `messages[2].content`.
 */
export function checkBody<Schema extends v.GenericSchema>(
  schema: Schema,
  json: unknown,
): v.InferOutput<Schema> {
  if (Array.isArray(json)) {
    throw new SkeinError('bad-argument', 'The body must be an object, and is an array.');
  }
  const result = v.safeParse(schema, json, { abortEarly: true, abortPipeEarly: true });
  if (result.success) return result.output;
  const [issue] = result.issues;
  const param = paramOf(issue);
  if (param === '') throw new SkeinError('bad-argument', `The body ${reasonOf(issue)}`);
  throw badParam(param, reasonOf(issue));
}

/** @param reason continues a sentence that begins with the parameter, with its full stop. */
export function badParam(param: string, reason: string): SkeinError {
  const name = param.slice(0, MAX_PARAM_CHARACTERS);
  return new SkeinError('bad-argument', `'${name}' ${reason.slice(0, MAX_REASON_CHARACTERS)}`, {
    data: { param: name },
  });
}

/** `messages[2].content`; empty for the body itself. */
function paramOf({ path }: v.BaseIssue<unknown>): string {
  return (path ?? [])
    .map(({ key }, index) => {
      if (typeof key === 'number') return `[${key}]`;
      return index === 0 ? String(key) : `.${String(key)}`;
    })
    .join('');
}

function reasonOf(issue: v.BaseIssue<unknown>): string {
  if (issue.kind === 'schema' && issue.type !== 'custom') {
    if (issue.expected === 'never') return 'is not a parameter that this endpoint knows. Leave it out.';
    if (issue.input === undefined) return 'is missing.';
    return `must be ${wordsOf(issue.expected)}, and is ${describeValue(issue.input)}.`;
  }
  return issue.message.endsWith('.') ? issue.message : `${issue.message}.`;
}

/** What valibot expects, in words: `(string | Array)` becomes `a string or an array`. */
function wordsOf(expected: string | null): string {
  if (expected === null) return 'something else';
  return expected
    .replace(/^\((.*)\)$/, '$1')
    .split(' | ')
    .filter((type) => type !== 'null' && type !== 'undefined')
    .map((type) => TYPE_WORDS.get(type) ?? type)
    .join(' or ');
}

const TYPE_WORDS: ReadonlyMap<string, string> = new Map([
  ['string', 'a string'],
  ['number', 'a number'],
  ['boolean', 'true or false'],
  ['Array', 'an array'],
  ['Object', 'an object'],
]);
