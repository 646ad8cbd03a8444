import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { TurnOptions } from '../../signaling/turn-credentials.ts';
import { SkeinError } from '../../src/protocol/errors.ts';
import { RelayUsage } from './relay-usage.ts';

const ADDRESS = '127.0.0.1';
const START_TIMEOUT_MS = 10_000;
const ASK_AGAIN_MS = 100;
const END_TIMEOUT_MS = 3_000;
const TTL_SECONDS = 3600;

export interface Coturn {
  readonly turn: TurnOptions;
  readonly usage: RelayUsage;
  /** Ends it, and reads what it counted last. Idempotent. */
  stop(): Promise<void>;
}

/** @throws SkeinError `bad-argument` with the command that installs it. */
export function findTurnserver(): string {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/bin', '/usr/local/bin'];
  const found = folders.map((folder) => join(folder, 'turnserver')).find(existsSync);
  if (found !== undefined) return found;
  throw new SkeinError(
    'bad-argument',
    'There is no turnserver. Install it: apt-get install --no-install-recommends coturn',
  );
}

/** A relay on this machine that takes the server's short-lived credentials, as `docs/operating.md` says to set one up. */
export async function startCoturn(program: string): Promise<Coturn> {
  const folder = await mkdtemp(join(tmpdir(), 'skein-turn-'));
  const secret = randomBytes(16).toString('hex');
  const port = await freeUdpPort();
  const config = join(folder, 'turnserver.conf');
  await writeFile(config, configuration(folder, port, secret).join('\n'), { mode: 0o600 });
  const child = spawn(program, ['-c', config], { stdio: ['ignore', 'pipe', 'pipe'] });
  const usage = new RelayUsage();
  let words = '';
  for (const output of [child.stdout, child.stderr]) {
    output.setEncoding('utf8').on('data', (text: string) => {
      words = `${words}${text}`.slice(-4000);
      usage.read(text);
    });
  }
  const ended = once(child, 'exit');
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGTERM');
      await Promise.race([ended, sleep(END_TIMEOUT_MS)]);
      child.kill('SIGKILL');
      await ended;
    }
    await rm(folder, { recursive: true, force: true });
  };
  const isUp = await Promise.race([answersStun(port), ended.then(() => false)]);
  if (!isUp) {
    await stop();
    throw new SkeinError('timeout', `coturn did not come up on ${ADDRESS}:${port}. It said: ${words}`);
  }
  const urls = [`turn:${ADDRESS}:${port}?transport=udp`];
  return { turn: { urls, secret, ttlSeconds: TTL_SECONDS }, usage, stop };
}

function configuration(folder: string, port: number, secret: string): string[] {
  return [
    `listening-ip=${ADDRESS}`,
    `relay-ip=${ADDRESS}`,
    `listening-port=${port}`,
    'use-auth-secret',
    `static-auth-secret=${secret}`,
    'realm=skein.test',
    // Both ends of every link are on this machine.
    'allow-loopback-peers',
    'no-cli',
    'no-tls',
    'no-dtls',
    'verbose',
    'log-file=stdout',
    'simple-log',
    `pidfile=${join(folder, 'turnserver.pid')}`,
    `userdb=${join(folder, 'turndb')}`,
  ];
}

async function freeUdpPort(): Promise<number> {
  const socket = createSocket('udp4');
  socket.bind(0, ADDRESS);
  await once(socket, 'listening');
  const { port } = socket.address();
  socket.close();
  return port;
}

/** Asks for this side's own address, which every STUN server tells (RFC 8489). */
async function answersStun(port: number): Promise<boolean> {
  const socket = createSocket('udp4');
  const deadline = AbortSignal.timeout(START_TIMEOUT_MS);
  const answered = new AbortController();
  socket.on('message', (message) => {
    if (message.length >= 20 && message.readUInt16BE(0) === 0x0101) answered.abort();
  });
  socket.on('error', () => undefined);
  while (!answered.signal.aborted && !deadline.aborted) {
    const request = Buffer.alloc(20);
    request.writeUInt16BE(0x0001, 0);
    request.writeUInt32BE(0x2112_a442, 4);
    randomBytes(12).copy(request, 8);
    socket.send(request, port, ADDRESS);
    await sleep(ASK_AGAIN_MS);
  }
  socket.close();
  return answered.signal.aborted;
}
