import { Option } from 'commander';
import type { Command } from 'commander';
import type { TurnOptions } from '../../signaling/turn-credentials.ts';
import { SkeinError } from '../protocol/errors.ts';
import type { IceServer } from '../protocol/signaling.ts';
import { wholeNumber } from './arguments.ts';

/** TURN's own limit for a nonce is an hour; coturn takes credentials of any length. Half a day outlasts most visits. */
const DEFAULT_TTL_SECONDS = 12 * 60 * 60;
const MAX_TTL_SECONDS = 30 * 24 * 60 * 60;
/** Below this, a credential can end before a slow dial does. */
const MIN_TTL_SECONDS = 60;

/** How peers find a way to each other, as an operator says it. */
export interface NetworkOptions {
  readonly iceServer?: readonly string[];
  readonly stun?: readonly string[];
  readonly turn?: readonly string[];
  readonly turnSecret?: string;
  readonly turnTtl: number;
  readonly relayOnly: boolean;
}

interface NetworkSettings {
  readonly iceServers: readonly IceServer[];
  readonly isRelayOnly: boolean;
  readonly turn?: TurnOptions;
}

export function addNetworkOptions(command: Command): Command {
  return command
    .option('--stun <url...>', 'STUN servers, by which tabs learn their address on the internet')
    .option('--turn <url...>', 'TURN servers, which relay where no direct way leads; with --turn-secret')
    .addOption(
      new Option(
        '--turn-secret <secret>',
        'what the TURN servers have as static-auth-secret; better in the environment, since others see the command line',
      ).env('SKEIN_TURN_SECRET'),
    )
    .addOption(
      new Option('--turn-ttl <seconds>', 'how long the credentials of one tab can be used')
        .argParser(wholeNumber(MIN_TTL_SECONDS, MAX_TTL_SECONDS))
        .default(DEFAULT_TTL_SECONDS),
    )
    .option(
      '--relay-only',
      'have all links go over the TURN servers, so that no tab learns the address of another',
      false,
    )
    .option('--ice-server <url...>', 'STUN or TURN servers that need no credentials');
}

/** @throws SkeinError `bad-argument` for options that do not go together. */
export function networkSettings(options: NetworkOptions): NetworkSettings {
  const { stun = [], iceServer = [], turn, turnSecret, turnTtl, relayOnly } = options;
  const wrong = stun.find((url) => !/^stuns?:\S+$/i.test(url));
  if (wrong !== undefined) {
    throw new SkeinError(
      'bad-argument',
      `"${wrong}" is not a STUN URL. Give one like stun:stun.example.org:3478.`,
    );
  }
  const hasTurn = turn !== undefined;
  if (hasTurn && (turnSecret ?? '') === '') {
    throw new SkeinError(
      'bad-argument',
      'TURN servers need --turn-secret or SKEIN_TURN_SECRET: what coturn has as static-auth-secret. For one that asks for no credentials use --ice-server.',
    );
  }
  if (relayOnly && !hasTurn && !iceServer.some((url) => /^turns?:/i.test(url))) {
    throw new SkeinError(
      'bad-argument',
      '--relay-only needs a TURN server: no tab could reach another. Add --turn.',
    );
  }
  return {
    iceServers: [...stun, ...iceServer].map((urls) => ({ urls })),
    isRelayOnly: relayOnly,
    ...(hasTurn && { turn: { urls: turn, secret: turnSecret ?? '', ttlSeconds: turnTtl } }),
  };
}
