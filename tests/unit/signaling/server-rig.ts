import { once } from 'node:events';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { newRequestId } from '../../../src/protocol/ids.ts';
import type { ModelId, RequestId } from '../../../src/protocol/ids.ts';
import type { ClientMessage } from '../../../src/protocol/signaling.ts';
import { createLog } from '../../../signaling/log.ts';
import { startServer } from '../../../signaling/server.ts';
import type { RunningServer, ServerOptions } from '../../../signaling/server.ts';
import { card, MODEL, node } from './scheduler/instances.ts';
import { SignalClient } from './signal-client.ts';

/** Servers of one test file, stopped after each test. */
export class ServerRig {
  readonly logLines: string[] = [];
  readonly #servers: RunningServer[] = [];

  async start(overrides: Partial<ServerOptions> = {}): Promise<RunningServer> {
    const server = await startServer({
      host: '127.0.0.1',
      port: 0,
      models: [card()],
      roots: [],
      stages: 'auto',
      log: createLog('debug', (line) => this.logLines.push(line)),
      ...overrides,
    });
    this.#servers.push(server);
    return server;
  }

  async stopAll(): Promise<void> {
    await Promise.all(this.#servers.splice(0).map((server) => server.close()));
    this.logLines.length = 0;
  }
}

/** Time passes when the test says so. */
export class ManualBeat {
  beat: () => void = () => undefined;

  readonly every = (beat: () => void) => {
    this.beat = beat;
    return () => undefined;
  };
}

export const CAPABILITY = { ...node(0).capability, matvecBytesPerSecond: 1e6, matmulFlopsPerSecond: 1e8 };
export const JOIN = { type: 'join', capability: CAPABILITY, cached: [] } satisfies ClientMessage;

/** Joins; what it is given is still to be loaded. */
export async function contribute(url: string) {
  const client = await SignalClient.greeted(url);
  client.send(JOIN);
  return client;
}

/** Loads what it is given, and serves it. */
export async function serve(client: SignalClient) {
  const { model, layerStart, layerEnd } = await client.next('assign');
  client.send({ type: 'serving', model, layerStart, layerEnd });
  return { model, layerStart, layerEnd };
}

export function routeRequest(
  requestId: RequestId = newRequestId(),
  tokens = 64,
  model: ModelId = MODEL,
): ClientMessage {
  return {
    type: 'route-request',
    requestId,
    model,
    epoch: 0,
    exclude: [],
    tokens,
    timeLimitMs: 60_000,
  };
}

/** Says what a proxy, a scanner or an attacker might: raw bytes on the port. */
export async function openRaw({ port }: Pick<RunningServer, 'port'>): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  return socket;
}

export async function readAll(socket: Socket): Promise<string> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.on('error', () => undefined);
  await new Promise((resolve) => socket.on('close', resolve));
  return Buffer.concat(chunks).toString('latin1');
}
