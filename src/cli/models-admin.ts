import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Command } from 'commander';
import * as v from 'valibot';
import { addFormatOptions } from './format-options.ts';
import { operatorKeyOption } from './operator-key.ts';
import { isLoopbackName } from '../../signaling/tls-origin.ts';
import { parseServerUrl } from '../mesh/server-url.ts';
import { errorShapeSchema } from '../protocol/signaling.ts';
import { SkeinError } from '../protocol/errors.ts';
import { wholeNumber } from './arguments.ts';
import { fingerprintOption, trustFingerprint } from './certificate-trust.ts';
import { serverSecret, stateFolder } from './server-secret.ts';

const POLL_MS = 1_000;
const MAX_WITHIN_SECONDS = 3_600;

interface AdminOptions {
  readonly server: string;
  readonly operatorKey?: string;
  readonly fingerprint?: string;
  readonly json: boolean;
}

interface AddOptions extends AdminOptions {
  readonly quantize: string;
  readonly cache: string;
  readonly activations: string;
}

interface RemoveOptions extends AdminOptions {
  readonly within: number;
}

const listingSchema = v.object({
  state: v.string(),
  location: v.optional(v.string()),
  id: v.optional(v.string()),
  attempt: v.optional(v.number()),
  error: v.optional(v.string()),
  layerCount: v.optional(v.number()),
  requests: v.optional(v.number()),
  readBytes: v.optional(v.number()),
});
type Listing = v.InferOutput<typeof listingSchema>;
const oneSchema = v.object({ model: v.nullable(listingSchema) });
const allSchema = v.object({ models: v.array(listingSchema) });
const refusalSchema = v.object({ error: errorShapeSchema });

export function addModelCommand(): Command {
  const command = withAdminOptions(new Command('add'))
    .description('Offer one more model, while the server runs.')
    .argument('<location>', "a folder or .gguf file of the server's machine, a URL, or a hub id");
  return addFormatOptions(command, 'what tabs make of its weights')
    .addHelpText(
      'after',
      `
Examples:
  $ skein models add ./my-model
  $ skein models add Qwen/Qwen3-0.6B --quantize int4 --server https://mesh.example`,
    )
    .action(addModel);
}

export function removeModelCommand(): Command {
  return withAdminOptions(new Command('remove'))
    .description('Take a model away: answers under way are finished, and no new ones begin.')
    .argument('<id>', 'its name, as skein models lists it')
    .option(
      '--within <seconds>',
      'answers that take longer are given up',
      wholeNumber(0, MAX_WITHIN_SECONDS),
      300,
    )
    .action(removeModel);
}

function withAdminOptions(command: Command): Command {
  return command
    .option('--server <url>', 'address of the server', parseServerUrl, 'http://localhost:3000')
    .addOption(operatorKeyOption())
    .addOption(fingerprintOption())
    .option('--json', 'print one JSON object', false);
}

async function addModel(location: string, options: AddOptions): Promise<void> {
  const admin = await openAdmin(options);
  const { quantize, cache, activations } = options;
  const wish = {
    location: existsSync(location) ? resolve(location) : location,
    quantize,
    cache,
    activations,
  };
  const { model } = v.parse(oneSchema, await admin('POST', '/admin/models', wish));
  const added = model?.attempt === undefined ? model : await untilOpened(admin, model.attempt, wish.location);
  if (added === null) throw new SkeinError('internal', 'The server did not say what became of the model.');
  if (options.json) console.log(JSON.stringify(added));
  else console.log(`${added.id ?? location} is offered: ${added.layerCount ?? '?'} layers.`);
}

/** For one that takes long to be looked at. @throws SkeinError with what is wrong with it. */
async function untilOpened(admin: Admin, attempt: number, location: string): Promise<Listing | null> {
  for (;;) {
    const { models } = v.parse(allSchema, await admin('GET', '/admin/models'));
    const own = models.find((model) => model.attempt === attempt);
    if (own?.state === 'failed') throw new SkeinError('model-missing', own.error ?? 'The model failed.');
    if (own === undefined) return models.find((model) => model.location === location) ?? null;
    console.error(`Looking at ${location}: ${Math.round((own.readBytes ?? 0) / 1024)} KiB read`);
    await sleep(POLL_MS);
  }
}

async function removeModel(id: string, options: RemoveOptions): Promise<void> {
  const admin = await openAdmin(options);
  const path = `/admin/models/${encodeURIComponent(id)}?within=${options.within}`;
  let { model } = v.parse(oneSchema, await admin('DELETE', path));
  while (model?.state === 'draining') {
    console.error(`${id}: ${model.requests ?? 0} answers under way`);
    await sleep(POLL_MS);
    const { models } = v.parse(allSchema, await admin('GET', '/admin/models'));
    model = models.find((other) => other.id === id) ?? null;
  }
  if (options.json) console.log(JSON.stringify({ id, state: 'removed' }));
  else console.log(`${id} is removed.`);
}

type Admin = (method: 'GET' | 'POST' | 'DELETE', path: string, body?: object) => Promise<unknown>;

/** @throws SkeinError `bad-argument` where the key would travel in the clear, or there is none to show. */
async function openAdmin({ server, operatorKey, fingerprint }: AdminOptions): Promise<Admin> {
  const { protocol, hostname } = new URL(server);
  const isHere = isLoopbackName(hostname);
  if (protocol !== 'https:' && !isHere) {
    throw new SkeinError(
      'bad-argument',
      `The operator key is not for plain HTTP. Use https:// for ${hostname}.`,
    );
  }
  const key = operatorKey ?? (await keptKey(isHere));
  await trustFingerprint(server, fingerprint);
  return async (method, path, body) => {
    const response = await ask(new URL(path, server), key, method, body);
    const json: unknown = await response.json().catch(() => null);
    if (response.ok) return json;
    const refusal = v.safeParse(refusalSchema, json);
    if (refusal.success) throw SkeinError.fromShape(refusal.output.error);
    throw new SkeinError('server-lost', `${server} answered ${response.status}. Is it a Skein server?`);
  };
}

async function ask(url: URL, key: string, method: string, body?: object): Promise<Response> {
  try {
    return await fetch(url, {
      method,
      redirect: 'error',
      headers: { authorization: `Bearer ${key}`, ...(body && { 'content-type': 'application/json' }) },
      ...(body && { body: JSON.stringify(body) }),
    });
  } catch (cause) {
    throw new SkeinError('server-lost', `There is no server at ${url.origin}, or it is not trusted.`, {
      cause,
    });
  }
}

/** The one that this user's servers made. It is shown to no other machine. */
async function keptKey(isHere: boolean): Promise<string> {
  const path = join(stateFolder(process.env), 'operator-key');
  if (isHere && existsSync(path)) return Buffer.from(await serverSecret(path)).toString('hex');
  throw new SkeinError('bad-argument', 'Give the operator key with --operator-key or SKEIN_OPERATOR_KEY.');
}
