import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Command, Option } from 'commander';
import { checkKeyName, formatApiKeys, hashApiKey, newApiKey } from '../../signaling/gateway/api-keys.ts';
import type { ApiKey } from '../../signaling/gateway/api-keys.ts';
import { readKeyFile } from '../../signaling/gateway/key-file.ts';
import { SkeinError } from '../protocol/errors.ts';
import { wholeNumber } from './arguments.ts';

const MAX_RATE = 1e12;

interface FileOptions {
  readonly apiKeys: string;
  readonly json: boolean;
}

interface AddOptions extends FileOptions {
  readonly requestsPerMinute?: number;
  readonly tokensPerMinute?: number;
  readonly concurrent?: number;
}

/** The file that `skein serve` reads; by the same option. */
export function apiKeysOption(): Option {
  return new Option('--api-keys <file>', 'the file of keys').env('SKEIN_API_KEYS');
}

export function keysCommand(): Command {
  const command = new Command('keys').description("Make and remove keys for the server's API.");
  const withFile = (subcommand: Command) =>
    subcommand
      .addOption(apiKeysOption().makeOptionMandatory())
      .option('--json', 'print JSON, for programs', false);
  const rate = wholeNumber(1, MAX_RATE);
  command.addCommand(
    withFile(new Command('add'))
      .description('Make a key, print it once, and keep its hash.')
      .argument('<name>', 'whose it is, for the log')
      .option('--requests-per-minute <n>', 'how often it may ask', rate)
      .option('--tokens-per-minute <n>', 'tokens of prompts and answers', rate)
      .option('--concurrent <n>', 'requests at a time', rate)
      .addHelpText(
        'after',
        '\nExample:\n  $ skein keys add anna --api-keys keys.json --requests-per-minute 60',
      )
      .action(addKey),
  );
  command.addCommand(
    withFile(new Command('list')).description('Show whose keys there are.').action(listKeys),
  );
  command.addCommand(
    withFile(new Command('remove'))
      .description('Take a key back: a server that runs refuses it within a second.')
      .argument('<name>')
      .action(removeKey),
  );
  return command;
}

async function addKey(name: string, options: AddOptions): Promise<void> {
  const { apiKeys: path, json, requestsPerMinute, tokensPerMinute, concurrent } = options;
  checkKeyName(name);
  const keys = existsSync(path) ? await readKeyFile(path) : [];
  if (keys.some((key) => key.name === name)) {
    throw new SkeinError(
      'bad-argument',
      `There is a key of the name ${name}. Remove it, or take another name.`,
    );
  }
  const key = newApiKey();
  const added: ApiKey = {
    name,
    sha256: hashApiKey(key),
    created: new Date().toISOString(),
    ...(requestsPerMinute !== undefined && { requestsPerMinute }),
    ...(tokensPerMinute !== undefined && { tokensPerMinute }),
    ...(concurrent !== undefined && { concurrent }),
  };
  await writeKeys(path, [...keys, added]);
  if (json) console.log(JSON.stringify({ name, key }));
  else console.log(`${key}\nThis is the key of ${name}. It is shown once: what is kept is its hash.`);
}

async function listKeys({ apiKeys: path, json }: FileOptions): Promise<void> {
  const keys = await readKeyFile(path);
  if (json) {
    // What is undefined is left out.
    console.log(JSON.stringify({ keys: keys.map((key) => ({ ...key, sha256: undefined })) }));
    return;
  }
  for (const { name, created = '', requestsPerMinute, tokensPerMinute, concurrent } of keys) {
    const limits = [
      requestsPerMinute === undefined ? [] : [`${requestsPerMinute} requests/min`],
      tokensPerMinute === undefined ? [] : [`${tokensPerMinute} tokens/min`],
      concurrent === undefined ? [] : [`${concurrent} at a time`],
    ].flat();
    console.log([name, created.slice(0, 10), limits.join(', ') || 'no limits'].join('  '));
  }
  if (keys.length === 0) console.log('There is no key. Make one with: skein keys add NAME');
}

async function removeKey(name: string, { apiKeys: path, json }: FileOptions): Promise<void> {
  const keys = await readKeyFile(path);
  const left = keys.filter((key) => key.name !== name);
  if (left.length === keys.length) {
    throw new SkeinError('bad-argument', `There is no key of the name ${name} in ${path}.`);
  }
  await writeKeys(path, left);
  console.log(json ? JSON.stringify({ removed: name }) : `The key of ${name} is removed.`);
}

/** Nobody ever reads half of it: it gets its name when it is whole. */
async function writeKeys(path: string, keys: readonly ApiKey[]): Promise<void> {
  const draft = `${path}.${randomUUID()}`;
  try {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(draft, formatApiKeys(keys), { mode: 0o600, flag: 'wx' });
    await rename(draft, path);
  } catch (cause) {
    await rm(draft, { force: true });
    throw new SkeinError('bad-argument', `${path} cannot be written: ${SkeinError.from(cause).message}`, {
      cause,
    });
  }
}
