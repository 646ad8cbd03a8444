import { SkeinError } from '../protocol/errors.ts';
import type { ModelId, PeerId, RequestId } from '../protocol/ids.ts';
import { ROUTE_REQUEST_TIMEOUT_MS, SIGNALING_CONNECT_TIMEOUT_MS } from '../protocol/limits.ts';
import type { Route } from '../protocol/route.ts';
import { decodeServerMessage, REPLACED_CLOSE_CODE, SIGNALING_VERSION } from '../protocol/signaling.ts';
import type { ClientMessage, ServerMessage } from '../protocol/signaling.ts';
import { systemClock } from './clock.ts';
import type { Clock } from './clock.ts';
import { hearOnly, Listeners } from './listeners.ts';
import { waitFor } from './wait-for.ts';

type ServerMessageOf<Type extends ServerMessage['type']> = Extract<ServerMessage, { type: Type }>;

/** What a browser's WebSocket and that of the `ws` package have in common. */
export interface SignalingSocket {
  send(text: string): void;
  close(): void;
  addEventListener(type: 'open' | 'error', listener: () => void): void;
  addEventListener(type: 'close', listener: (event: { code: number }) => void): void;
  addEventListener(type: 'message', listener: (event: { data: unknown }) => void): void;
}

export interface SignalingOptions {
  /** Gives up connecting; without effect on a connection that was made. */
  readonly signal?: AbortSignal;
  /** Node 20 has no WebSocket of its own: pass one of the `ws` package. */
  readonly createSocket?: (url: string) => SignalingSocket;
  readonly clock?: Clock;
  /** Who this was before, for the same id again. The server decides: `welcome` says which id it is. */
  readonly resume?: Resumption;
  /** For the server to say welcome. Default: SIGNALING_CONNECT_TIMEOUT_MS. */
  readonly timeoutMs?: number;
}

/** What `hello` says of an earlier connection. */
export type Resumption = NonNullable<Extract<ClientMessage, { type: 'hello' }>['resume']>;

export interface RouteQuery {
  readonly model: ModelId;
  readonly requestId: RequestId;
  readonly epoch: number;
  /** Peers that failed this request. */
  readonly exclude: readonly PeerId[];
  /** Of prompt and answer, at most. */
  readonly tokens: number;
  /** After which the server takes the route back, or the place in the queue. */
  readonly timeLimitMs: number;
}

/** How an answer went: tokens after the first, and the time they took. */
export type RouteOutcome = NonNullable<Extract<ClientMessage, { type: 'route-end' }>['outcome']>;

/** One connection to the signaling server, from `welcome` until it is closed; it does not come back by itself. */
export class SignalingClient {
  readonly welcome: ServerMessageOf<'welcome'>;
  readonly #socket: SignalingSocket;
  readonly #clock: Clock;
  readonly #messages = new Listeners<[message: ServerMessage]>();
  readonly #ended = new Listeners<[error: SkeinError]>();
  /** Why the connection is over. */
  #end: SkeinError | null = null;
  #lastMesh: ServerMessageOf<'mesh'> | null = null;
  #rejectedMessages = 0;
  /** Requests that want a route or use one. */
  readonly #liveRequests = new Set<RequestId>();

  private constructor(socket: SignalingSocket, clock: Clock, welcome: ServerMessageOf<'welcome'>) {
    this.#socket = socket;
    this.#clock = clock;
    this.welcome = welcome;
    socket.addEventListener('message', ({ data }) => this.#receive(data));
    socket.addEventListener('close', ({ code }) => this.#finish(closedBy(code)));
    socket.addEventListener('error', () => this.#finish(serverLost('cannot be reached any more')));
  }

  /**
   * @param url of the signaling socket, `ws:` or `wss:`.
   * @throws SkeinError `server-lost` when there is no server, `timeout` when it does not answer, `bad-message` when it speaks
   * another version, `aborted`, or what the server refused with.
   */
  static async connect(url: string, options: SignalingOptions = {}): Promise<SignalingClient> {
    const {
      signal,
      clock = systemClock,
      createSocket = (address: string) => new WebSocket(address),
      resume,
      timeoutMs = SIGNALING_CONNECT_TIMEOUT_MS,
    } = options;
    const hello = { type: 'hello', version: SIGNALING_VERSION, ...(resume && { resume }) } as const;
    let socket: SignalingSocket;
    try {
      signal?.throwIfAborted();
      socket = createSocket(url);
    } catch (thrown) {
      throw SkeinError.from(thrown, 'bad-argument');
    }
    try {
      return await waitFor<SignalingClient>(
        {
          clock,
          timeoutMs,
          what: `The server at ${url} did not answer`,
          ...(signal && { signal }),
        },
        (resolve, reject) => {
          let isSettled = false;
          socket.addEventListener('open', () => send(socket, hello));
          socket.addEventListener('close', () => reject(serverLost(`at ${url} closed the connection`)));
          socket.addEventListener('error', () => reject(serverLost(`at ${url} cannot be reached`)));
          socket.addEventListener('message', ({ data }) => {
            if (isSettled) return;
            isSettled = true;
            try {
              resolve(new SignalingClient(socket, clock, readWelcome(data)));
            } catch (thrown) {
              reject(SkeinError.from(thrown));
            }
          });
        },
      );
    } catch (thrown) {
      socket.close();
      throw thrown;
    }
  }

  /** Messages of the server that could not be read. */
  get rejectedMessages(): number {
    return this.#rejectedMessages;
  }

  /** Says nothing on a closed connection: `onClosed` has told. */
  send(message: ClientMessage): void {
    if (!this.#end) send(this.#socket, message);
  }

  /**
   * A listener to `mesh` is told the state as it is as well as every change.
   * @returns a function that stops listening.
   */
  on<Type extends ServerMessage['type']>(
    type: Type,
    listener: (message: ServerMessageOf<Type>) => void,
  ): () => void {
    return this.onMessage(hearOnly<ServerMessage, Type>(type, listener));
  }

  /** Every message, and the state of the mesh as for `on`. @returns a function that stops listening. */
  onMessage(listener: (message: ServerMessage) => void): () => void {
    return this.#messages.addAndTell(listener, () => (this.#lastMesh ? [[this.#lastMesh]] : []));
  }

  /**
   * The connection is lost, with `server-lost`; `close` is no loss. Told as well when it is lost already.
   * @returns a function that stops listening.
   */
  onClosed(listener: (error: SkeinError) => void): () => void {
    const hear = (error: SkeinError) => {
      if (error.code === 'server-lost') listener(error);
    };
    const end = this.#end;
    return this.#ended.addAndTell(hear, () => (end ? [[end]] : []));
  }

  /**
   * Waits as long as the request is in the server's queue; only the server's silence ends that. Who gives up waiting gives
   * up its place: the server is told.
   * @param onQueued hears the place in the queue, and every change of it; 1 is next.
   * @throws SkeinError what the server denied the route with, `server-lost`, `timeout` or `aborted`.
   */
  async requestRoute(
    query: RouteQuery,
    signal?: AbortSignal,
    onQueued: (position: number) => void = () => undefined,
  ): Promise<Route> {
    if (this.#end) throw this.#end;
    const { model, requestId, epoch, exclude, tokens, timeLimitMs } = query;
    const stops: (() => void)[] = [];
    let lastPosition = 0;
    try {
      return await waitFor<Route>(
        {
          clock: this.#clock,
          timeoutMs: ROUTE_REQUEST_TIMEOUT_MS,
          what: `The server gave no route for ${model}`,
          ...(signal && { signal }),
        },
        (resolve, reject, restart) => {
          stops.push(
            this.on('route', ({ route }) => {
              if (route.requestId === requestId && route.epoch === epoch) resolve(route);
            }),
            this.on('route-queued', (queued) => {
              if (queued.requestId !== requestId) return;
              restart();
              if (queued.position !== lastPosition) onQueued(queued.position);
              lastPosition = queued.position;
            }),
            this.on('route-denied', (denial) => {
              if (denial.requestId === requestId) reject(SkeinError.fromShape(denial.error));
            }),
            this.#ended.add(reject),
          );
          this.#liveRequests.add(requestId);
          this.send({
            type: 'route-request',
            model,
            requestId,
            epoch,
            exclude: [...exclude],
            tokens,
            timeLimitMs,
          });
        },
      );
    } catch (thrown) {
      const error = SkeinError.from(thrown);
      const isGivenUp = error.code === 'aborted' || error.code === 'timeout';
      if (isGivenUp && this.#liveRequests.has(requestId)) this.endRoute(requestId);
      this.#liveRequests.delete(requestId);
      throw error;
    } finally {
      for (const stop of stops) stop();
    }
  }

  /** The request needs its route, or its place in the queue, no more. Idempotent. */
  endRoute(requestId: RequestId, outcome?: RouteOutcome): void {
    this.#liveRequests.delete(requestId);
    this.send({ type: 'route-end', requestId, ...(outcome && { outcome }) });
  }

  /** Idempotent. Route requests under way fail with `aborted`. */
  close(): void {
    this.#finish(new SkeinError('aborted', 'The connection to the server was closed from here.'));
    this.#socket.close();
  }

  #receive(data: unknown): void {
    if (this.#end) return;
    let message: ServerMessage;
    try {
      message = read(data);
    } catch {
      this.#rejectedMessages += 1;
      return;
    }
    if (message.type === 'mesh') this.#lastMesh = message;
    // Given while the request was being given up: nobody will use it, so nobody else would end it.
    if (message.type === 'route' && !this.#liveRequests.has(message.route.requestId)) {
      this.endRoute(message.route.requestId);
    }
    this.#messages.tell(message);
  }

  #finish(error: SkeinError): void {
    if (this.#end) return;
    this.#end = error;
    this.#messages.clear();
    this.#ended.tell(error);
  }
}

function send(socket: SignalingSocket, message: ClientMessage): void {
  socket.send(JSON.stringify(message));
}

function read(data: unknown): ServerMessage {
  if (typeof data === 'string') return decodeServerMessage(data);
  throw new SkeinError('bad-message', 'A signaling message must be text.');
}

function readWelcome(data: unknown): ServerMessageOf<'welcome'> {
  const message = read(data);
  if (message.type === 'error') throw SkeinError.fromShape(message.error);
  if (message.type !== 'welcome') {
    throw new SkeinError('bad-message', `The server began with ${message.type} where welcome was to come.`);
  }
  if (message.version !== SIGNALING_VERSION) {
    throw new SkeinError(
      'bad-message',
      `The server speaks version ${message.version} and this side ${SIGNALING_VERSION}. Reload to get the same.`,
    );
  }
  return message;
}

/** @returns with `data.isReplaced` where another connection came with the same id. */
function closedBy(code: number): SkeinError {
  if (code !== REPLACED_CLOSE_CODE) return serverLost('closed the connection');
  return serverLost('closed the connection for another one with the same id', { isReplaced: true });
}

function serverLost(what: string, data: Readonly<Record<string, boolean>> = {}): SkeinError {
  return new SkeinError('server-lost', `The server ${what}. Connect again when it is back.`, { data });
}
