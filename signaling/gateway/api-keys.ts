import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import * as v from 'valibot';
import { SkeinError } from '../../src/protocol/errors.ts';
import { refusedField } from '../../src/protocol/refused-field.ts';
import { MAX_API_KEY_CHARACTERS, MAX_API_KEYS } from './limits.ts';

const KEY_PREFIX = 'sk-skein-';
/** Of a key: nobody guesses one, so one round of SHA-256 hides it as well as any slow hash would. */
const KEY_BYTES = 32;

const rate = v.exactOptional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(1e12)));
/** What one caller may ask for; no limit where there is none. */
const ratesEntries = { requestsPerMinute: rate, tokensPerMinute: rate, concurrent: rate };

/** Names are written in logs and command lines. */
const nameSchema = v.pipe(
  v.string(),
  v.regex(/^[\w.-]{1,64}$/, 'takes up to 64 letters, digits, ".", "-" and "_"'),
);

const apiKeySchema = v.strictObject({
  name: nameSchema,
  /** Of the key as it is sent, in hex. The key itself is nowhere. */
  sha256: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/, 'is no SHA-256 in lower-case hex')),
  /** ISO 8601, for people. */
  created: v.exactOptional(v.pipe(v.string(), v.maxLength(40))),
  ...ratesEntries,
});
/** What is kept of a key. */
export type ApiKey = v.InferOutput<typeof apiKeySchema>;
export type CallerRates = Pick<ApiKey, keyof typeof ratesEntries>;

const keyFileSchema = v.strictObject({ keys: v.pipe(v.array(apiKeySchema), v.maxLength(MAX_API_KEYS)) });

/** @throws SkeinError `bad-argument` naming the field, for anything that is not a list of keys with names of their own. */
export function parseApiKeys(json: string): ApiKey[] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(json);
  } catch (cause) {
    throw new SkeinError('bad-argument', 'A file of keys has to be JSON: {"keys": [...]}.', { cause });
  }
  const result = v.safeParse(keyFileSchema, parsed);
  if (!result.success) {
    const { field, reason } = refusedField(result.issues);
    throw new SkeinError('bad-argument', `In the file of keys, "${field || 'keys'}": ${reason}`);
  }
  const { keys } = result.output;
  const names = new Set(keys.map(({ name }) => name));
  if (names.size === keys.length) return keys;
  throw new SkeinError('bad-argument', 'In the file of keys two have the same name. Rename or remove one.');
}

export function formatApiKeys(keys: readonly ApiKey[]): string {
  return `${JSON.stringify({ keys }, null, 2)}\n`;
}

/** A key for one program: 32 random bytes, to be told once. */
export function newApiKey(): string {
  return `${KEY_PREFIX}${randomBytes(KEY_BYTES).toString('base64url')}`;
}

/** In hex. */
export function hashApiKey(key: string): string {
  return createHash('sha256').update(key, 'utf8').digest('hex');
}

/** @throws SkeinError `bad-argument` for one that no log could show. */
export function checkKeyName(name: string): string {
  const result = v.safeParse(nameSchema, name);
  if (result.success) return name;
  throw new SkeinError('bad-argument', `The name of a key ${result.issues[0].message}.`);
}

/** Looks at every key, whichever is right: how long it takes tells nothing about any. */
export function findApiKey(presented: string, keys: readonly ApiKey[]): ApiKey | null {
  if (presented.length > MAX_API_KEY_CHARACTERS) return null;
  const digest = createHash('sha256').update(presented, 'utf8').digest();
  let found: ApiKey | null = null;
  for (const key of keys) if (timingSafeEqual(digest, Buffer.from(key.sha256, 'hex'))) found = key;
  return found;
}
