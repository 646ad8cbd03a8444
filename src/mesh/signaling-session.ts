import { errorForWire } from '../protocol/error-for-wire.ts';
import { SkeinError } from '../protocol/errors.ts';
import type { PeerId, RequestId } from '../protocol/ids.ts';
import {
  MAX_SIGNALING_BYTES,
  SESSION_STEADY_MS,
  SIGNALING_CONNECT_TIMEOUT_MS,
  SIGNALING_RESUME_TIMEOUT_MS,
} from '../protocol/limits.ts';
import type { Route } from '../protocol/route.ts';
import type { ClientMessage, ModelCard, ServerMessage } from '../protocol/signaling.ts';
import { retryDelayMs } from './backoff.ts';
import { systemClock } from './clock.ts';
import type { Clock } from './clock.ts';
import { LiveRequests } from './live-requests.ts';
import { hearOnly, Listeners } from './listeners.ts';
import type { SessionEvent, SessionEventOf } from './session-events.ts';
import { SignalingClient } from './signaling-client.ts';
import type { Resumption, RouteOutcome, RouteQuery, SignalingOptions } from './signaling-client.ts';

/** Of what is told of a hop that failed: the rest of the message takes little. */
const MAX_SUSPICION_BYTES = MAX_SIGNALING_BYTES / 2;

export interface SignalingSessionOptions extends SignalingOptions {
  /** For the jitter of pauses. */
  readonly random?: () => number;
}

/**
 * One stay with the server, over as many connections as it takes: after a loss it connects again and asks for the same id.
 * It is over when the server gives another id, or refuses for good.
 */
export class SignalingSession {
  readonly #url: string;
  readonly #options: SignalingSessionOptions;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #events = new Listeners<[event: SessionEvent]>();
  readonly #ended = new Listeners<[error: SkeinError]>();
  readonly #requests: LiveRequests;
  /** Ends an attempt to connect when the session is closed. */
  readonly #over = new AbortController();
  #client: SignalingClient;
  #clientSinceMs: number;
  #end: SkeinError | null = null;
  #lastMesh: SessionEventOf<'mesh'> | null = null;
  /** Null until they change after the welcome. */
  #models: readonly ModelCard[] | null = null;
  #away: SessionEventOf<'away'> | null = null;
  /** Ends the pause before the next attempt. */
  #stopPausing: () => void = () => undefined;
  /** Attempts to connect since the connection was last steady. */
  #attempts = 0;
  /** How often another connection took the id since then. */
  #replacements = 0;

  private constructor(url: string, options: SignalingSessionOptions, client: SignalingClient) {
    this.#url = url;
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? Math.random;
    this.#requests = new LiveRequests(this.#clock);
    this.#client = client;
    this.#clientSinceMs = this.#clock.now();
    this.#listenTo(client);
  }

  /** @throws SkeinError as `SignalingClient.connect`: the first connection is the caller's to try again. */
  static async connect(url: string, options: SignalingSessionOptions = {}): Promise<SignalingSession> {
    return new SignalingSession(url, options, await SignalingClient.connect(url, options));
  }

  /** The models of the mesh as the server said last; they come and go. */
  get models(): readonly ModelCard[] {
    return this.#models ?? this.welcome.models;
  }

  /** What the server said last when this connected: after a restart it may have other relays. */
  get welcome(): SessionEventOf<'welcome'> {
    return this.#client.welcome;
  }

  /** Says nothing while the server is away: who has something to say to a restarted server hears `resumed`. */
  send(message: ClientMessage): void {
    this.#client.send(message);
  }

  /**
   * A listener to `mesh` or `away` is told the state as it is as well as every change.
   * @returns a function that stops listening.
   */
  on<Type extends SessionEvent['type']>(
    type: Type,
    listener: (event: SessionEventOf<Type>) => void,
  ): () => void {
    return this.#events.addAndTell(hearOnly<SessionEvent, Type>(type, listener), () => this.#state());
  }

  /**
   * The session is over: only another one, with another id, can follow. `close` does not count. Told as well when it is over
   * already.
   * @returns a function that stops listening.
   */
  onClosed(listener: (error: SkeinError) => void): () => void {
    const hear = (error: SkeinError) => {
      if (error.code !== 'aborted') listener(error);
    };
    const end = this.#end;
    return this.#ended.addAndTell(hear, () => (end ? [[end]] : []));
  }

  /** As `SignalingClient.requestRoute`. While the server is away it fails at once, with `server-lost`. */
  async requestRoute(
    query: RouteQuery,
    signal?: AbortSignal,
    onQueued?: (position: number) => void,
  ): Promise<Route> {
    if (this.#end) throw this.#end;
    const request = this.#requests.begin(query);
    try {
      const route = await this.#client.requestRoute(query, signal, onQueued);
      request.routed(route);
      return route;
    } catch (thrown) {
      request.denied();
      throw thrown;
    }
  }

  /** The request needs its route, or its place in the queue, no more. Told later where the server is away. Idempotent. */
  endRoute(requestId: RequestId, outcome?: RouteOutcome): void {
    if (this.#away) this.#requests.endLater(requestId, outcome);
    else {
      this.#requests.end(requestId);
      this.#client.endRoute(requestId, outcome);
    }
  }

  /**
   * A hop of this peer's request failed it, or, where `requestId` is null, the peer was cut off for what it sent. Says nothing
   * while the server is away: the next query excludes the peer.
   */
  suspect(requestId: RequestId | null, peer: PeerId, error: SkeinError): void {
    const told = errorForWire(error.toShape(), MAX_SUSPICION_BYTES);
    this.send({ type: 'suspect', ...(requestId !== null && { requestId }), peer, error: told });
  }

  /** Ends a pause between attempts. */
  retryNow(): void {
    this.#stopPausing();
  }

  /** Idempotent. Route requests under way fail with `aborted`. */
  close(): void {
    this.#finish(new SkeinError('aborted', 'The session with the server was closed from here.'));
  }

  *#state(): Generator<[event: SessionEvent]> {
    if (this.#lastMesh) yield [this.#lastMesh];
    if (this.#away) yield [this.#away];
  }

  #listenTo(client: SignalingClient): void {
    client.onMessage((message) => this.#hear(message));
    client.onClosed((error) => void this.#reconnect(error));
  }

  #hear(message: ServerMessage): void {
    if (message.type === 'mesh') this.#lastMesh = message;
    if (message.type === 'models') this.#models = message.models;
    this.#events.tell(message);
  }

  /** Runs until there is a connection again or the session is over. */
  async #reconnect(lost: SkeinError): Promise<void> {
    if (this.#clock.now() - this.#clientSinceMs >= SESSION_STEADY_MS) {
      this.#attempts = 0;
      this.#replacements = 0;
    }
    if (lost.data['isReplaced'] === true) this.#replacements += 1;
    // Once, an attempt of our own may have arrived late. Two that go by one id would take turns for ever.
    const isTakenOver = this.#replacements > 1;
    for (let failure = lost; this.#end === null;) {
      const { resumeToken: token, peer } = this.welcome;
      if (token === undefined || isTakenOver || !isPassing(failure)) {
        this.#finish(failure);
        return;
      }
      await this.#stayAway(failure);
      const attempt = await this.#attempt({ peer, token });
      if (attempt instanceof SignalingClient) {
        this.#resumeWith(attempt);
        return;
      }
      failure = attempt;
    }
  }

  /** @returns why it failed, where it did. */
  async #attempt(resume: Resumption): Promise<SignalingClient | SkeinError> {
    const timeoutMs = Math.min(this.#attempts * SIGNALING_RESUME_TIMEOUT_MS, SIGNALING_CONNECT_TIMEOUT_MS);
    const { signal } = this.#over;
    try {
      return await SignalingClient.connect(this.#url, { ...this.#options, resume, timeoutMs, signal });
    } catch (thrown) {
      return SkeinError.from(thrown);
    }
  }

  /** Says that the server is away, and pauses. */
  async #stayAway(error: SkeinError): Promise<void> {
    this.#attempts += 1;
    const retryInMs = retryDelayMs(this.#attempts, this.#random());
    const over = new Promise<void>((resolve) => {
      const cancel = this.#clock.after(retryInMs, resolve);
      this.#stopPausing = () => {
        cancel();
        resolve();
      };
    });
    this.#away = { type: 'away', error, retryInMs };
    this.#events.tell(this.#away);
    await over;
  }

  #resumeWith(client: SignalingClient): void {
    if (this.#end) {
      client.close();
      return;
    }
    if (client.welcome.peer !== this.welcome.peer) {
      client.close();
      this.#finish(
        new SkeinError(
          'server-lost',
          'The server is back and knows this session no more. Begin another one.',
        ),
      );
      return;
    }
    this.#client = client;
    this.#models = null;
    this.#clientSinceMs = this.#clock.now();
    this.#away = null;
    // Who held these is gone or counts them anew: the next `mesh` says.
    this.#lastMesh = null;
    for (const message of this.#requests.afterResume()) client.send(message);
    this.#events.tell({ type: 'resumed', welcome: client.welcome });
    this.#listenTo(client);
  }

  #finish(error: SkeinError): void {
    if (this.#end) return;
    this.#end = error;
    this.#away = null;
    this.#over.abort();
    this.#stopPausing();
    this.#client.close();
    this.#events.clear();
    this.#ended.tell(error);
  }
}

/** Whether trying again may help; a server of another version stays one. */
function isPassing({ code }: SkeinError): boolean {
  return code === 'server-lost' || code === 'timeout' || code === 'busy';
}
