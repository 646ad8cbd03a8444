import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import type { WebSocket } from 'ws';
import { SkeinError } from '../src/protocol/errors.ts';
import { newPeerId } from '../src/protocol/ids.ts';
import type { ModelId, PeerId } from '../src/protocol/ids.ts';
import { MAX_SIGNALING_BYTES } from '../src/protocol/limits.ts';
import type { ClientMessage } from '../src/protocol/signaling.ts';
import { AddressBook } from './address-book.ts';
import { accuserName } from './address-key.ts';
import { clientAddress } from './client-address.ts';
import { ClientSocket } from './client-socket.ts';
import { CLOSE_GRACE_MS, HELLO_TIMEOUT_MS, MAX_MESSAGE_FRAGMENTS, MAX_SOCKETS } from './limits.ts';
import type { Log } from './log.ts';
import { MeshBroadcast } from './mesh-broadcast.ts';
import { MessageLimits } from './message-limits.ts';
import type { Presence, PresenceEvent } from './presence.ts';
import type { Effect } from './outbox.ts';
import type { ResumeTokens } from './resume-tokens.ts';

export interface SignalServerOptions {
  readonly presence: Presence;
  readonly log: Log;
  readonly trustProxy: boolean;
  /** Knows whether somebody had the id that it asks for. */
  readonly resumeTokens: ResumeTokens;
  /** Calls back at every ping interval. @returns a function that stops it. */
  readonly everyPing: (ping: () => void) => () => void;
  /** Calls back every `TICK_INTERVAL_MS`. @returns a function that stops it. */
  readonly everyTick: (tick: () => void) => () => void;
  /** A model that was being removed is gone. */
  readonly onModelRemoved?: (model: ModelId) => void;
  readonly maxSocketsPerAddress?: number;
  /** Whether this is the server's own gateway: it speaks for many, so what one client may say does not hold for it. */
  readonly isGateway?: (peer: PeerId) => boolean;
}

/** Where pages and programs connect. */
const SIGNAL_PATH = '/signal';

/** A socket and whose it is; null until it has said hello. */
interface Connection {
  readonly socket: ClientSocket;
  readonly address: string;
  readonly sinceMs: number;
  peer: PeerId | null;
}

/** The edge around `Presence`: sockets in, events through, effects out. */
export class SignalServer {
  readonly #options: SignalServerOptions;
  readonly #webSockets = new WebSocketServer({
    noServer: true,
    maxPayload: MAX_SIGNALING_BYTES,
    maxFragments: MAX_MESSAGE_FRAGMENTS,
    perMessageDeflate: false,
  });
  /** All open sockets, those that are being closed included. */
  readonly #connections = new Set<Connection>();
  /** Those of peers: the one that showed its id last. */
  readonly #peers = new Map<PeerId, Connection>();
  readonly #addresses: AddressBook;
  readonly #stopPings: () => void;
  readonly #stopTicks: () => void;
  readonly #broadcast: MeshBroadcast;
  #closing = false;

  constructor(options: SignalServerOptions) {
    this.#options = options;
    this.#addresses = new AddressBook(options.maxSocketsPerAddress);
    this.#broadcast = new MeshBroadcast({
      mesh: () => options.presence.mesh(),
      sendAll: (json) => {
        const mesh = Buffer.from(json);
        for (const peer of options.presence.greeted()) this.#peers.get(peer)?.socket.sendMesh(mesh);
      },
    });
    this.#stopPings = options.everyPing(() => this.#pingAll());
    this.#stopTicks = options.everyTick(() => this.#tick());
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

  /** The operator adds a model, or has one drained. */
  changeModels(event: Extract<PresenceEvent, { type: 'model-added' | 'model-drained' }>): void {
    this.#handle(event);
  }

  /** Says goodbye to everybody, and cuts who does not answer. */
  async close(): Promise<void> {
    this.#closing = true;
    this.#stopPings();
    this.#stopTicks();
    this.#broadcast.stop();
    for (const { socket } of this.#connections) socket.goAway();
    const cut = setTimeout(() => {
      for (const { socket } of this.#connections) socket.terminate();
    }, CLOSE_GRACE_MS);
    await new Promise<void>((resolve) => {
      this.#webSockets.close(() => resolve());
    });
    clearTimeout(cut);
  }

  #refusal(request: IncomingMessage, address: string): string | null {
    const [path] = (request.url ?? '').split('?');
    if (path !== SIGNAL_PATH) return '404 Not Found';
    if (this.#closing || this.#connections.size >= MAX_SOCKETS) return '503 Service Unavailable';
    if (!this.#addresses.mayOpen(address, performance.now())) return '429 Too Many Requests';
    return null;
  }

  #accept(webSocket: WebSocket, address: string): void {
    const { log, isGateway } = this.#options;
    const sinceMs = performance.now();
    const isFree = () => connection.peer !== null && isGateway?.(connection.peer) === true;
    const socket = new ClientSocket(webSocket, {
      limits: new MessageLimits(this.#addresses.opened(address, sinceMs), sinceMs, isFree),
      onMessage: (message) => this.#receive(connection, message),
      onRoundTrip: (seconds) => this.#tell(connection, (peer) => ({ type: 'round-trip', peer, seconds })),
      onClose: () => {
        this.#connections.delete(connection);
        this.#addresses.closed(address);
        this.#leave(connection);
      },
      onAbuse: (reason) => log.warn(`${connection.peer ?? 'somebody'} at ${address}: ${reason}`),
      nowMs: () => performance.now(),
    });
    const connection: Connection = { socket, address, sinceMs, peer: null };
    this.#connections.add(connection);
  }

  #receive(connection: Connection, message: ClientMessage): void {
    if (connection.peer === null) {
      if (message.type === 'hello') this.#identify(connection, message.resume);
      else {
        const words = `"${message.type}" came before "hello". Say hello first.`;
        connection.socket.strike(new SkeinError('bad-message', words));
        return;
      }
    }
    // Where a peer is decides what it is given when it joins, so it is not left to the next ping.
    if (message.type === 'hello') connection.socket.measureRoundTrip();
    this.#tell(connection, (peer) => ({ type: 'message', peer, message }));
  }

  /** A peer that proves its id gets it back, and whoever had it until now is sent away; anybody else gets a new one. */
  #identify(connection: Connection, resume: Extract<ClientMessage, { type: 'hello' }>['resume']): void {
    const { resumeTokens } = this.#options;
    const isResumed = resume !== undefined && resumeTokens.isRight(resume.peer, resume.token);
    const peer = isResumed ? resume.peer : newPeerId();
    const older = this.#peers.get(peer);
    if (older !== undefined) {
      this.#leave(older);
      older.socket.replace();
    }
    connection.peer = peer;
    this.#peers.set(peer, connection);
    const accuser = accuserName(connection.address, peer);
    this.#handle({ type: 'connected', peer, isResumed, accuser });
  }

  /** What comes over a socket that is not its peer's any more is nobody's. */
  #tell(connection: Connection, eventOf: (peer: PeerId) => PresenceEvent): void {
    const { peer } = connection;
    if (peer !== null && this.#peers.get(peer) === connection) this.#handle(eventOf(peer));
  }

  #leave(connection: Connection): void {
    const { peer } = connection;
    if (peer === null || this.#peers.get(peer) !== connection) return;
    this.#peers.delete(peer);
    this.#handle({ type: 'disconnected', peer });
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
        this.#send(effect, event);
        break;
      case 'mesh-changed':
        this.#broadcast.schedule();
        break;
      case 'close':
        this.#peers.get(effect.peer)?.socket.refuse(effect.reason);
        break;
      case 'model-removed':
        this.#options.onModelRemoved?.(effect.model);
        break;
      case 'cut':
        this.#cut(effect.peer, effect.reason);
        break;
      case 'log':
        this.#options.log.info(effect.line);
        break;
      case 'fault':
        this.#logFault(effect.error, event);
        break;
    }
  }

  #send({ to, message }: Extract<Effect, { type: 'send' }>, event: PresenceEvent): void {
    const socket = this.#peers.get(to)?.socket;
    if (message.type === 'mesh') this.#broadcast.toldAlone();
    if (message.type === 'error' && message.error.code === 'bad-message') {
      socket?.strike(SkeinError.fromShape(message.error));
    } else if (message.type === 'signal' && socket?.isSlow === true && 'peer' in event) {
      // Others must not be able to have it cut for what they send it.
      const words = `Peer ${to} is slow to read what it is sent. Try again in a moment.`;
      const error = new SkeinError('peer-lost', words, { data: { peer: to } });
      this.#peers.get(event.peer)?.socket.send({ type: 'error', error: error.toShape() });
    } else {
      socket?.send(message);
    }
  }

  /** Should it wake up after all, it finds its socket closed, and comes back. */
  #cut(peer: PeerId, reason: string): void {
    const connection = this.#peers.get(peer);
    this.#peers.delete(peer);
    connection?.socket.refuse(reason);
  }

  #tick(): void {
    const nowMs = performance.now();
    for (const { socket, peer, sinceMs } of this.#connections) {
      if (peer === null && nowMs - sinceMs >= HELLO_TIMEOUT_MS) socket.terminate();
    }
    this.#addresses.prune(nowMs);
    this.#tellOwed();
    this.#handle({ type: 'tick' });
  }

  /** Tells those the state of the mesh who were slow to read when it changed. */
  #tellOwed(): void {
    const owed = [...this.#peers.values()].filter(({ socket }) => socket.wantsMesh);
    if (owed.length === 0) return;
    const mesh = Buffer.from(JSON.stringify(this.#options.presence.mesh()));
    for (const { socket } of owed) socket.sendMesh(mesh);
  }

  #pingAll(): void {
    for (const { socket, peer } of this.#connections) if (peer !== null) socket.ping();
  }
}
