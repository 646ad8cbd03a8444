import { Option } from 'commander';
import type { Command } from 'commander';
import { DEFAULT_MAX_API_REQUESTS, DEFAULT_MAX_BODY_BYTES } from '../../signaling/gateway/limits.ts';
import { KeyFile } from '../../signaling/gateway/key-file.ts';
import type { GatewayOptions } from '../../signaling/gateway/gateway.ts';
import { isLoopback } from '../../signaling/address-key.ts';
import type { Log } from '../../signaling/log.ts';
import { SkeinError } from '../protocol/errors.ts';
import { seconds, wholeNumber } from './arguments.ts';
import { apiKeysOption } from './keys.ts';

const MIB = 1024 * 1024;
const MAX_BODY_MIB = 64;
/** One requester of the mesh: itself, and no more than its line is long. */
const MAX_REQUESTS = 2048;
const MAX_ROUTE_WAIT_MS = 10 * 60_000;

/** How programs may ask, as an operator says it. */
export interface GatewayChoices {
  readonly api: boolean;
  readonly apiKeys?: string;
  readonly corsOrigin?: readonly string[];
  readonly publicMetrics: boolean;
  readonly maxBodyMib: number;
  readonly maxApiRequests: number;
  readonly routeWait: number;
}

export function addGatewayOptions(command: Command): Command {
  return command
    .option('--no-api', 'no API at /v1 for programs, and no /metrics')
    .addOption(apiKeysOption())
    .option(
      '--cors-origin <origins...>',
      "origins whose pages may use the API and read the models' files; * for all",
    )
    .option('--public-metrics', 'let everybody read /metrics, not this machine and the operator alone', false)
    .addOption(
      new Option('--max-body-mib <n>', 'how long a question may be')
        .argParser(wholeNumber(1, MAX_BODY_MIB))
        .default(DEFAULT_MAX_BODY_BYTES / MIB),
    )
    .addOption(
      new Option('--max-api-requests <n>', 'questions of programs under way')
        .argParser(wholeNumber(1, MAX_REQUESTS))
        .default(DEFAULT_MAX_API_REQUESTS),
    )
    .addOption(
      new Option('--route-wait <seconds>', 'how long a question waits for a model that is not whole')
        .argParser(seconds(MAX_ROUTE_WAIT_MS))
        .default(0, '0'),
    );
}

/**
 * What the gateway is to know beside the mesh.
 * @param host that the server listens on.
 * @throws SkeinError `bad-argument` for origins that are none, or a file of keys that cannot be used.
 */
export async function gatewaySettings(
  { api, apiKeys, corsOrigin = [], publicMetrics, maxBodyMib, maxApiRequests, routeWait }: GatewayChoices,
  host: string,
  log: Log,
): Promise<Omit<GatewayOptions, 'models' | 'answer'>> {
  if (api && apiKeys === undefined && host !== 'localhost' && !isLoopback(host)) {
    log.warn(
      'The API at /v1 is open to everybody who can reach this server. Give it keys with --api-keys, or switch it off with --no-api.',
    );
  }
  for (const origin of corsOrigin) checkOrigin(origin);
  return {
    keys: apiKeys === undefined ? null : await KeyFile.open(apiKeys, log),
    isMetricsPublic: publicMetrics,
    maxBodyBytes: maxBodyMib * MIB,
    maxRequests: maxApiRequests,
    routeWaitMs: routeWait,
  };
}

function checkOrigin(text: string): void {
  if (text === '*' || (URL.canParse(text) && new URL(text).origin === text)) return;
  throw new SkeinError(
    'bad-argument',
    `"${text}" is no origin. Give one like https://app.example.org, or *.`,
  );
}
