import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import type { OpenedModel } from '../../signaling/admin-models.ts';
import { operatorCheck } from '../../signaling/admin-key.ts';
import { createLog, LOG_LEVELS } from '../../signaling/log.ts';
import type { Log, LogLevel } from '../../signaling/log.ts';
import type { StagePolicy } from '../../signaling/scheduler/types.ts';
import { startServer } from '../../signaling/server.ts';
import { answerChats } from '../client/api/answer-chat.ts';
import { SkeinError } from '../protocol/errors.ts';
import type { Activations } from '../protocol/activations.ts';
import type { CacheFormat } from '../protocol/cache-format.ts';
import { MAX_ROUTE_HOPS } from '../protocol/limits.ts';
import type { Quantization } from '../protocol/quantization.ts';
import { wholeNumber } from './arguments.ts';
import { addFormatOptions } from './format-options.ts';
import { addGatewayOptions, gatewaySettings } from './gateway-options.ts';
import type { GatewayChoices } from './gateway-options.ts';
import { GatewaySession } from './gateway-session.ts';
import { addHttpsOptions, httpsCertificate, listenAddress } from './https-options.ts';
import type { HttpsOptions } from './https-options.ts';
import { httpsWelcome } from './https-welcome.ts';
import { modelsToServe } from './models-to-serve.ts';
import { operatorKey, operatorKeyOption } from './operator-key.ts';
import type { OperatorKey } from './operator-key.ts';
import { openServedModel } from './served-models.ts';
import { serverSecret, serverSecretPath, stateFolder } from './server-secret.ts';
import { addNetworkOptions, networkSettings } from './network-options.ts';
import type { NetworkOptions } from './network-options.ts';

const PROJECT = resolve(import.meta.dirname, '../..');
const EMBEDDED_MODEL = resolve(PROJECT, 'public/models/skein-tiny');
const PAGES = resolve(PROJECT, 'dist');
const MAX_PORT = 65_535;

interface ServeOptions extends NetworkOptions, GatewayChoices, HttpsOptions {
  readonly host: string;
  readonly port: number;
  readonly model?: readonly string[];
  readonly quantize: Quantization;
  readonly activations: Activations;
  readonly cache: CacheFormat;
  readonly stages: StagePolicy;
  readonly trustProxy: boolean;
  readonly operatorKey?: string;
  readonly logLevel: LogLevel;
}

export function serveCommand(): Command {
  const command = new Command('serve')
    .description('Serve the pages, the models and the signaling of a mesh.')
    .addOption(new Option('--host <address>', 'address to listen on').env('HOST').default('127.0.0.1'))
    .addOption(
      new Option('--port <port>', 'port to listen on; 0 takes a free one')
        .env('PORT')
        .argParser(wholeNumber(0, MAX_PORT))
        .default(3000),
    )
    .option(
      '--model <dir-or-url...>',
      'model folders, .gguf files, URLs or hub ids (default: the embedded skein-tiny)',
    );
  addFormatOptions(command, 'what tabs make of the weights when they load them').option(
    '--stages <auto|n>',
    'split a model over as few peers as hold it, or over n',
    parseStages,
    'auto',
  );
  return addNetworkOptions(addGatewayOptions(addHttpsOptions(command)))
    .addOption(operatorKeyOption())
    .option('--trust-proxy', 'take client addresses from X-Forwarded-For', false)
    .addOption(new Option('--log-level <level>', 'how much to print').choices(LOG_LEVELS).default('info'))
    .addHelpText(
      'after',
      `
Examples:
  $ skein serve                                     the embedded model on http://localhost:3000
  $ skein serve --stages 3                          split it over three tabs
  $ skein serve --model ./my-model Qwen/Qwen3-0.6B  a folder and a model from the hub
  $ skein serve --model Qwen/Qwen3-4B --quantize int4  a quarter of the memory in every tab
  $ skein serve --https                             for phones and other machines in the same network
  $ HOST=0.0.0.0 PORT=8080 skein serve              for other machines, behind a proxy that speaks HTTPS
  $ SKEIN_TURN_SECRET=... skein serve --stun stun:turn.example.org --turn turn:turn.example.org
                                                    for tabs that reach each other over the internet`,
    )
    .action(runServe);
}

async function runServe(options: ServeOptions, command: Command): Promise<void> {
  if (!existsSync(resolve(PAGES, 'index.html'))) {
    throw new SkeinError('bad-argument', `There are no pages in ${PAGES}. Build them with: npm run build`);
  }
  const network = networkSettings(options);
  const log = createLog(options.logLevel, (line) => console.error(line));
  const stop = abortOnStop();
  const secret = await keptSecret(log);
  const host = listenAddress(options.host, command.getOptionValueSource('host') === 'default', options);
  const say = (line: string) => log.info(line);
  const certificate = await httpsCertificate(options, host, stateFolder(process.env), say);
  const folder = stateFolder(process.env);
  const operator = await keptOperatorKey(options.operatorKey, folder, log);
  const { served, keep, settled } = await modelsToServe({
    named: options.model ?? null,
    embedded: EMBEDDED_MODEL,
    formats: { quantization: options.quantize, cache: options.cache, activations: options.activations },
    keptIn: join(folder, 'models.json'),
    log,
    signal: stop,
  });
  const gatewayOptions = await gatewaySettings(options, host, log);
  const gateway = options.api ? new GatewaySession() : null;
  const server = await startServer({
    host,
    port: options.port,
    stages: options.stages,
    trustProxy: options.trustProxy,
    models: served.map(({ card }) => card),
    roots: [...served.flatMap(({ root }) => (root === null ? [] : [root])), { urlPath: '/', folder: PAGES }],
    ...network,
    ...(secret && { secret }),
    ...(certificate && { tls: certificate }),
    ...(operator && {
      isOperator: operatorCheck(operator.key),
      admin: { served, open: openServedModel, onChange: keep },
    }),
    ...(gateway && {
      gateway: { ...gatewayOptions, models: gateway.models, answer: answerChats },
      isGateway: gateway.isSelf,
    }),
    corsOrigins: options.corsOrigin ?? [],
    log,
  });
  gateway?.open(server.url);
  const lan = httpsWelcome({
    host,
    port: server.port,
    certificate,
    interfaces: networkInterfaces(),
    isTerminal: process.stdout.isTTY,
  });
  const keyLines = operatorLines(operator);
  console.log(
    [welcome(server.url, served, options.stages), ...lan, ...keyLines, 'Press Ctrl-C to stop.'].join('\n'),
  );
  if (!stop.aborted) await once(stop, 'abort');
  gateway?.dispose();
  await server.close();
  await settled();
}

/** @returns null where none can be kept, and peers that come back after a restart are new ones. */
async function keptSecret(log: Log): Promise<Uint8Array | null> {
  try {
    return await serverSecret(serverSecretPath(process.env));
  } catch (thrown) {
    log.warn(`Tabs will not be known again after a restart: ${SkeinError.from(thrown).message}`);
    return null;
  }
}

/** @returns null where none was given and none can be kept: the server then stays as it was started. */
async function keptOperatorKey(
  given: string | undefined,
  folder: string,
  log: Log,
): Promise<OperatorKey | null> {
  try {
    return await operatorKey(given, folder);
  } catch (thrown) {
    if (given !== undefined) throw thrown;
    log.warn(`Nobody can add or remove models: ${SkeinError.from(thrown).message}`);
    return null;
  }
}

function parseStages(text: string): StagePolicy {
  if (text === 'auto') return 'auto';
  try {
    return wholeNumber(1, MAX_ROUTE_HOPS)(text);
  } catch {
    throw new InvalidArgumentError(`Give "auto" or a whole number from 1 to ${MAX_ROUTE_HOPS}.`);
  }
}

/** Aborts when the process is asked to end, as often as it may be asked: closing takes a second at most. */
function abortOnStop(): AbortSignal {
  const controller = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => controller.abort());
  return controller.signal;
}

function welcome(url: string, models: readonly OpenedModel[], stages: StagePolicy): string {
  const lines = models.map(({ card, root }) => {
    const from = root === null ? card.url : relative(process.cwd(), root.folder);
    const loaded = card.quantization === 'none' ? '' : `, loaded as ${card.quantization}`;
    return `  ${card.id}: ${card.layerCount} layers${loaded}, from ${from}`;
  });
  const split = stages === 'auto' ? 'as few tabs as hold it' : `${stages} tab${stages === 1 ? '' : 's'}`;
  return [
    `Skein is at ${url}`,
    ...lines,
    `Chat at ${url}/ and lend this machine's GPU at ${url}/contribute/; each model is split over ${split}.`,
  ].join('\n');
}

function operatorLines(operator: OperatorKey | null): string[] {
  const path = operator?.path ?? null;
  return path === null ? [] : [`Operator key, for skein models add and remove: ${path}`];
}
