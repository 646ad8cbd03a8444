import { Command } from 'commander';
import { afterEach, expect, it, vi } from 'vitest';
import { addNetworkOptions, networkSettings } from '../../../src/cli/network-options.ts';
import type { NetworkOptions } from '../../../src/cli/network-options.ts';

afterEach(() => vi.unstubAllEnvs());

function settings(...args: string[]) {
  const command = addNetworkOptions(new Command('serve'))
    .exitOverride()
    .configureOutput({ writeErr: () => undefined });
  return networkSettings(command.parse(args, { from: 'user' }).opts<NetworkOptions>());
}

it('is nothing but the own network by default', () => {
  expect(settings()).toEqual({ iceServers: [], isRelayOnly: false });
});

it('takes STUN servers, servers without credentials, and TURN servers with a secret', () => {
  const args = [
    '--stun',
    'stun:a',
    'stuns:b:1',
    '--ice-server',
    'turn:open',
    '--turn',
    'turn:c',
    'turns:d?transport=tcp',
  ];
  expect(settings(...args, '--turn-secret', 's', '--turn-ttl', '600', '--relay-only')).toEqual({
    iceServers: [{ urls: 'stun:a' }, { urls: 'stuns:b:1' }, { urls: 'turn:open' }],
    isRelayOnly: true,
    turn: { urls: ['turn:c', 'turns:d?transport=tcp'], secret: 's', ttlSeconds: 600 },
  });
});

it('takes the secret from the environment, so that no list of processes shows it', () => {
  vi.stubEnv('SKEIN_TURN_SECRET', 'from the environment');
  expect(settings('--turn', 'turn:c').turn).toEqual({
    urls: ['turn:c'],
    secret: 'from the environment',
    ttlSeconds: 43_200,
  });
});

it.each([
  [['--turn', 'turn:c'], 'SKEIN_TURN_SECRET'],
  [['--relay-only'], 'needs a TURN server'],
  [['--relay-only', '--stun', 'stun:a'], 'needs a TURN server'],
  [['--stun', 'turn:a'], 'not a STUN URL'],
  [['--turn-ttl', '5'], 'from 60 to'],
])('refuses %s in words', (args, words) => {
  expect(() => settings(...args)).toThrow(words);
});
