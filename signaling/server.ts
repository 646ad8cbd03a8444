import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { getRequestListener } from '@hono/node-server';
import { SkeinError } from '../src/protocol/errors.ts';
import type { PeerId } from '../src/protocol/ids.ts';
import type { IceServer, ModelCard } from '../src/protocol/signaling.ts';
import { createAdmin } from './admin.ts';
import { AdminModels } from './admin-models.ts';
import type { AdminModelsDeps } from './admin-models.ts';
import { createApp } from './app.ts';
import { guardConnections, httpTimeouts } from './connection-guard.ts';
import { PING_INTERVAL_MS, TICK_INTERVAL_MS } from './limits.ts';
import { createGateway } from './gateway/gateway.ts';
import type { GatewayOptions } from './gateway/gateway.ts';
import type { MeshFigures } from './gateway/metrics.ts';
import type { Log } from './log.ts';
import type { CertificateFacts } from './plain-page.ts';
import { Presence } from './presence.ts';
import { ResumeTokens } from './resume-tokens.ts';
import { steadyScheduler } from './scheduler/scheduler.ts';
import type { StagePolicy } from './scheduler/types.ts';
import { SignalServer } from './signal-server.ts';
import type { StaticRoot } from './static-files.ts';
import { isInsecureOrigin } from './tls-origin.ts';
import { alsoSpeakTls } from './tls-port.ts';
import type { TlsIdentity } from './tls-port.ts';
import { TurnCredentials } from './turn-credentials.ts';
import type { TurnOptions } from './turn-credentials.ts';

/** Of a secret that the server makes up. */
const SECRET_BYTES = 32;

export interface ServerOptions {
  /** Address to listen on, for example `127.0.0.1`, or `0.0.0.0` for everybody. */
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly models: readonly ModelCard[];
  /** Folders served over HTTP, searched in order: the models', then the built pages'. */
  readonly roots: readonly StaticRoot[];
  readonly stages: StagePolicy;
  readonly log: Log;
  /** STUN and TURN servers that peers are told to use; none by default, which does for one network. */
  readonly iceServers?: readonly IceServer[];
  /** TURN servers for which every peer gets credentials of its own, which end. */
  readonly turn?: TurnOptions;
  /** Tells peers to reach each other over TURN servers only, so that none learns the address of another. */
  readonly isRelayOnly?: boolean;
  /** What proves to this server that it gave an id; the same after a restart, and peers get theirs back. Random by default. */
  readonly secret?: Uint8Array;
  /** Speaks HTTPS as well, on the same port; pages that come over plain HTTP from other machines are sent there. */
  readonly tls?: TlsIdentity & CertificateFacts;
  /** Believe X-Forwarded-For and X-Forwarded-Proto. Only behind a proxy that sets it. */
  readonly trustProxy?: boolean;
  /** What beats the time of liveness pings; a timer by default. @returns a function that stops it. */
  readonly everyPing?: (ping: () => void) => () => void;
  /** What beats the time of everything that waits; a timer by default. @returns a function that stops it. */
  readonly everyTick?: (tick: () => void) => () => void;
  /** Whether this is the server's own gateway, which asks for many and is not held to what one client may; nobody by default. */
  readonly isGateway?: (peer: PeerId) => boolean;
  /** The APIs that programs know; without it there are none. */
  readonly gateway?: GatewayOptions;
  /** Origins whose pages may use the APIs, or `*` for all; none by default. */
  readonly corsOrigins?: readonly string[];
  /** Whether this is the operator's key. */
  readonly isOperator?: (key: string) => boolean;
  /** With `isOperator`: how models are added, and kept. Without it they stay as they are. */
  readonly admin?: Pick<AdminModelsDeps, 'served' | 'open' | 'onChange'>;
  readonly maxSocketsPerAddress?: number;
  readonly maxConnectionsPerAddress?: number;
  /** How long a client may take to say what it wants. */
  readonly requestHeadTimeoutMs?: number;
}

export interface RunningServer {
  /** Where a browser on this machine finds it, without TLS and without a trailing slash. */
  readonly url: string;
  readonly port: number;
  /** Says goodbye to everybody and resolves when the port is free. Calling it again waits for the same. */
  close(): Promise<void>;
}

/**
 * Starts HTTP, perhaps HTTPS, and signaling on one port.
 * @throws SkeinError `bad-argument` when the port or the address cannot be had.
 */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { models, stages, log, isRelayOnly = false, tls, trustProxy = false } = options;
  const resumeTokens = new ResumeTokens(options.secret ?? randomBytes(SECRET_BYTES));
  const presence = new Presence({
    models,
    stages,
    scheduler: steadyScheduler,
    iceServers: options.iceServers ?? [],
    isRelayOnly,
    resumeToken: (peer) => resumeTokens.tokenOf(peer),
    now: () => performance.now(),
    ...(options.isGateway && { isGateway: options.isGateway }),
    ...(options.turn && { turn: new TurnCredentials(options.turn, () => Date.now() / 1000) }),
  });
  const startedMs = performance.now();
  const { gateway: gatewayOptions, corsOrigins = [], isOperator } = options;
  const gateway =
    gatewayOptions &&
    createGateway({
      ...gatewayOptions,
      mesh: () => meshFigures(presence),
      log,
      now: () => performance.now(),
      trustProxy,
      ...(isOperator && { isOperator }),
    });
  const roots = [...options.roots];
  const adminModels =
    options.admin &&
    new AdminModels({
      ...options.admin,
      mesh: presence,
      change: (event) => signaling.changeModels(event),
      roots,
    });
  const app = createApp({
    roots,
    trustProxy,
    corsOrigins,
    ...(gateway && { gateway }),
    ...(adminModels && isOperator && { admin: createAdmin({ models: adminModels, isOperator, trustProxy }) }),
    ...(tls && { certificate: tls }),
    onError: (error) => log.error(`HTTP: ${SkeinError.from(error).message}`),
    health: () => ({
      status: 'ok',
      uptimeSeconds: Math.round((performance.now() - startedMs) / 1000),
      peers: presence.greeted().length,
      contributors: presence.mesh().members.length,
      requests: presence.requestCount,
      queued: presence.queuedCount,
      models: presence.models().map((card) => card.id),
      covered: presence.covered(),
    }),
  });
  const respond = getRequestListener(app.fetch);
  const http = createServer(httpTimeouts(options.requestHeadTimeoutMs), (request, response) => {
    void respond(request, response);
  });
  const dropConnections = tls ? alsoSpeakTls(http, tls, options.requestHeadTimeoutMs) : () => undefined;
  guardConnections(http, {
    countsAddresses: !trustProxy,
    ...(options.maxConnectionsPerAddress !== undefined && {
      maxPerAddress: options.maxConnectionsPerAddress,
    }),
  });
  await listen(http, options);

  const signaling = new SignalServer({
    presence,
    log,
    resumeTokens,
    trustProxy,
    onModelRemoved: (model) => adminModels?.removed(model),
    everyPing: options.everyPing ?? every(PING_INTERVAL_MS),
    everyTick: options.everyTick ?? every(TICK_INTERVAL_MS),
    ...(options.isGateway && { isGateway: options.isGateway }),
    ...(options.maxSocketsPerAddress !== undefined && { maxSocketsPerAddress: options.maxSocketsPerAddress }),
  });
  http.on('upgrade', (request, socket, head) => {
    if (tls && isInsecureOrigin(request.headers.origin ?? '')) refuseUpgrade(socket);
    else signaling.handleUpgrade(request, socket, head);
  });

  const port = portOf(http);
  let closing: Promise<void> | null = null;
  return {
    port,
    url: `http://${urlHost(options.host)}:${port}`,
    close: () => {
      adminModels?.close();
      return (closing ??= closeAll(http, signaling, dropConnections));
    },
  };
}

function meshFigures(presence: Presence): MeshFigures {
  return {
    peers: presence.greeted().length,
    contributors: presence.mesh().members.length,
    requests: presence.requestCount,
    queued: presence.queuedCount,
    stages: presence.stageLoads(),
  };
}

function every(intervalMs: number): (run: () => void) => () => void {
  return (run) => {
    const timer = setInterval(run, intervalMs);
    return () => clearInterval(timer);
  };
}

async function listen(http: Server, { host, port }: ServerOptions): Promise<void> {
  http.listen(port, host);
  try {
    await once(http, 'listening');
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown';
    const words: Readonly<Record<string, string>> = {
      EADDRINUSE: `Port ${port} on ${host} is in use. Stop the other program, or choose another port with PORT or --port.`,
      EACCES: `Port ${port} needs more rights than this program has. Choose one above 1023 with PORT or --port.`,
      EADDRNOTAVAIL: `${host} is not an address of this machine. Choose one with HOST or --host, for example 0.0.0.0.`,
    };
    const message = words[code] ?? `Cannot listen on ${host}:${port}: ${SkeinError.from(cause).message}`;
    throw new SkeinError('bad-argument', message, { cause });
  }
}

function portOf(http: Server): number {
  const address = http.address();
  if (address === null || typeof address === 'string') {
    throw new SkeinError('internal', 'The server listens on no port.');
  }
  return address.port;
}

/** Browsers give WebGPU to `localhost`, and cannot open a wildcard address. */
function urlHost(host: string): string {
  if (['0.0.0.0', '::', '127.0.0.1', '::1'].includes(host)) return 'localhost';
  return host.includes(':') ? `[${host}]` : host;
}

/** A page without a secure context could not keep its part of what follows. */
function refuseUpgrade(socket: Duplex): void {
  const reason = 'Pages of this server connect over HTTPS: open this one with https:// in its address.\n';
  const head = ['HTTP/1.1 403 Forbidden', 'Connection: close', 'Content-Type: text/plain; charset=utf-8'];
  socket.on('error', () => socket.destroy());
  socket.end(`${head.join('\r\n')}\r\nContent-Length: ${reason.length}\r\n\r\n${reason}`, () => {
    socket.destroy();
  });
}

async function closeAll(http: Server, signaling: SignalServer, dropConnections: () => void): Promise<void> {
  const closed = new Promise<void>((resolve) => {
    http.close(() => resolve());
  });
  await signaling.close();
  http.closeAllConnections();
  dropConnections();
  await closed;
}
