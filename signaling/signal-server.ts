import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import type { WebSocket } from 'ws';
import { SkeinError } from '../src/protocol/errors.ts';
import { newPeerId } from '../src/protocol/ids.ts';
import type { PeerId } from '../src/protocol/ids.ts';
import { MAX_SIGNALING_BYTES } from '../src/protocol/limits.ts';
import { clientAddress } from './client-address.ts';
import { ClientSocket } from './client-socket.ts';
import { CLOSE_GRACE_MS, MAX_SOCKETS, MAX_SOCKETS_PER_ADDRESS } from './limits.ts';
import type { Log } from './log.ts';
import { MeshBroadcast } from './mesh-broadcast.ts';
import type { Effect, Presence, PresenceEvent } from './presence.ts';

export interface SignalServerOptions {
  readonly presence: Presence;
  readonly log: Log;
  readonly trustProxy: boolean;
  /** Calls back at every ping interval. @returns a function that stops it. */
  readonly everyPing: (ping: () => void) => () => void;
  /** Calls back every `TICK_INTERVAL_MS`. @returns a function that stops it. */
  readonly everyTick: (tick: () => void) => () => void;
  readonly maxSocketsPerAddress?: number;
}

/** Where pages and programs connect. */
export const SIGNAL_PATH = '/signal';

/** The edge around `Presence`: sockets in, events through, effects out. */
export class SignalServer {
  readonly #options: SignalServerOptions;
  readonly #webSockets = new WebSocketServer({
    noServer: true,
    maxPayload: MAX_SIGNALING_BYTES,
    perMessageDeflate: false,
  });
  readonly #sockets = new Map<PeerId, ClientSocket>();
  readonly #socketsPerAddress = new Map<string, number>();
  readonly #stopPings: () => void;
  readonly #stopTicks: () => void;
  readonly #broadcast: MeshBroadcast;
  #closing = false;

  constructor(options: SignalServerOptions) {
    this.#options = options;
    this.#broadcast = new MeshBroadcast({
      mesh: () => options.presence.mesh(),
      sendAll: (json) => {
        for (const peer of options.presence.greeted()) this.#sockets.get(peer)?.sendJson(json);
      },
    });
    this.#stopPings = options.everyPing(() => this.#pingAll());
    this.#stopTicks = options.everyTick(() => this.#handle({ type: 'tick' }));
  }

  /** Takes over an HTTP upgrade, or answers it with the reason why not. */
  handleUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', (error) => this.#options.log.debug(`upgrade: ${error.message}`));
    const address = clientAddress(request, this.#options.trustProxy);
    const refusal = this.#refusal(request, address);
    if (refusal !== null) {
      socket.end(`HTTP/1.1 ${refusal}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`, () =>
        socket.destroy(),
      );
      return;
    }
    this.#webSockets.handleUpgrade(request, socket, head, (webSocket) => this.#accept(webSocket, address));
  }

  /** Says goodbye to everybody, and cuts who does not answer. */
  async close(): Promise<void> {
    this.#closing = true;
    this.#stopPings();
    this.#stopTicks();
    this.#broadcast.stop();
    for (const socket of this.#sockets.values()) socket.goAway();
    const cut = setTimeout(() => {
      for (const socket of this.#sockets.values()) socket.terminate();
    }, CLOSE_GRACE_MS);
    await new Promise<void>((resolve) => {
      this.#webSockets.close(() => resolve());
    });
    clearTimeout(cut);
  }

  #refusal(request: IncomingMessage, address: string): string | null {
    const [path] = (request.url ?? '').split('?');
    const perAddress = this.#options.maxSocketsPerAddress ?? MAX_SOCKETS_PER_ADDRESS;
    if (path !== SIGNAL_PATH) return '404 Not Found';
    if (this.#closing || this.#sockets.size >= MAX_SOCKETS) return '503 Service Unavailable';
    if ((this.#socketsPerAddress.get(address) ?? 0) >= perAddress) return '429 Too Many Requests';
    return null;
  }

  #accept(webSocket: WebSocket, address: string): void {
    const peer = newPeerId();
    const { log } = this.#options;
    this.#countAddress(address, 1);
    const socket = new ClientSocket(webSocket, {
      onMessage: (message) => {
        // Where a peer is decides what it is given when it joins, so it is not left to the next ping.
        if (message.type === 'hello') socket.measureRoundTrip();
        this.#handle({ type: 'message', peer, message });
      },
      onRoundTrip: (seconds) => this.#handle({ type: 'round-trip', peer, seconds }),
      onClose: () => {
        this.#sockets.delete(peer);
        this.#countAddress(address, -1);
        this.#handle({ type: 'disconnected', peer });
      },
      onAbuse: (reason) => log.warn(`${peer} at ${address}: ${reason}`),
      nowMs: () => performance.now(),
    });
    this.#sockets.set(peer, socket);
    this.#handle({ type: 'connected', peer });
  }

  #countAddress(address: string, change: 1 | -1): void {
    const count = (this.#socketsPerAddress.get(address) ?? 0) + change;
    if (count === 0) this.#socketsPerAddress.delete(address);
    else this.#socketsPerAddress.set(address, count);
  }

  #handle(event: PresenceEvent): void {
    try {
      for (const effect of this.#options.presence.handle(event)) this.#perform(effect, event);
    } catch (thrown) {
      this.#logFault(SkeinError.from(thrown), event);
    }
  }

  /** A fault of ours, whatever the client sent: the others go on, and the log says where to look. */
  #logFault({ stack, message, cause }: SkeinError, event: PresenceEvent): void {
    const whose = 'peer' in event ? ` of ${event.peer}` : '';
    const where = cause instanceof Error ? cause.stack : stack;
    this.#options.log.error(`${event.type}${whose} failed: ${where ?? message}`);
  }

  #perform(effect: Effect, event: PresenceEvent): void {
    switch (effect.type) {
      case 'send':
        this.#sockets.get(effect.to)?.send(effect.message);
        if (effect.message.type === 'mesh') this.#broadcast.toldAlone();
        break;
      case 'mesh-changed':
        this.#broadcast.schedule();
        break;
      case 'close':
        this.#sockets.get(effect.peer)?.refuse(effect.reason);
        break;
      case 'log':
        this.#options.log.info(effect.line);
        break;
      case 'fault':
        this.#logFault(effect.error, event);
        break;
    }
  }

  #pingAll(): void {
    for (const [peer, socket] of this.#sockets) socket.ping(this.#options.presence.isGreeted(peer));
  }
}
