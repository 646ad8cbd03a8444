import { SkeinError } from '../protocol/errors.ts';
import type { ModelId } from '../protocol/ids.ts';
import type { MeshMember } from '../protocol/signaling.ts';
import { retryDelayMs } from './backoff.ts';
import type { MeshSession, SessionSignaling } from './mesh-session.ts';
import { Observable } from './observable.ts';

/** A session that knows when it is over. */
export interface OwnedSession<
  Signaling extends SessionSignaling = SessionSignaling,
> extends MeshSession<Signaling> {
  /** Resolves with the reason when the server knows this session no more. */
  readonly closed: Promise<SkeinError>;
  /** Ends a pause before the next attempt to reach the server. */
  retryNow(): void;
  dispose(): void;
}

/** Who is on the mesh, as the server last said. */
export interface MeshView {
  readonly members: readonly MeshMember[];
  /** Models with a tab for every layer. */
  readonly covered: readonly ModelId[];
}

export const EMPTY_MESH: MeshView = { members: [], covered: [] };

export type ConnectionState<Session> =
  | { readonly phase: 'connecting' }
  | { readonly phase: 'online'; readonly session: Session; readonly mesh: MeshView }
  /** The server is away. The session, its links and the answers over them go on; the mesh is as it was last known. */
  | {
      readonly phase: 'reconnecting';
      readonly session: Session;
      readonly mesh: MeshView;
      readonly error: SkeinError;
      readonly retryInMs: number;
    }
  /** There is no session. */
  | { readonly phase: 'offline'; readonly error: SkeinError; readonly retryInMs: number };

export interface ConnectionDeps<Session> {
  /** @throws SkeinError `server-lost`, `timeout`. */
  readonly open: (signal: AbortSignal) => Promise<Session>;
  /** Resolves after the time or on abort, whichever comes first. */
  readonly pause: (ms: number, signal: AbortSignal) => Promise<void>;
  readonly random: () => number;
}

/** The session to work through; null while there is none. */
export function sessionOf<Session>(state: ConnectionState<Session>): Session | null {
  return state.phase === 'online' || state.phase === 'reconnecting' ? state.session : null;
}

/** Keeps a page on the mesh: opens a session, and after the end of one another, with growing, jittered pauses. */
export class MeshConnection<Session extends OwnedSession> {
  readonly #deps: ConnectionDeps<Session>;
  readonly #state = new Observable<ConnectionState<Session>>({ phase: 'connecting' });
  readonly #disposed = new AbortController();
  #retry = new AbortController();
  #session: Session | null = null;

  constructor(deps: ConnectionDeps<Session>) {
    this.#deps = deps;
    void this.#run();
  }

  get state(): ConnectionState<Session> {
    return this.#state.value;
  }

  /** The latest there was: over, perhaps, until another is open. */
  get latestSession(): Session | null {
    return this.#session;
  }

  subscribe(listener: (state: ConnectionState<Session>) => void): () => void {
    return this.#state.subscribe(listener);
  }

  /** Ends a pause between attempts. */
  retryNow(): void {
    this.#retry.abort();
    this.#session?.retryNow();
  }

  dispose(): void {
    this.#disposed.abort();
    this.#retry.abort();
    this.#session?.dispose();
  }

  async #run(): Promise<void> {
    const isOver = () => this.#disposed.signal.aborted;
    for (let failures = 0; !isOver();) {
      this.#state.value = { phase: 'connecting' };
      let error: SkeinError;
      try {
        const session = await this.#deps.open(this.#disposed.signal);
        if (isOver()) {
          session.dispose();
          return;
        }
        failures = 0;
        error = await this.#stay(session);
      } catch (thrown) {
        error = SkeinError.from(thrown, 'server-lost');
      }
      if (isOver()) return;
      failures += 1;
      const retryInMs = retryDelayMs(failures, this.#deps.random());
      this.#retry = new AbortController();
      this.#state.value = { phase: 'offline', error, retryInMs };
      await this.#deps.pause(retryInMs, this.#retry.signal);
    }
  }

  /** @returns why the session ended. */
  async #stay(session: Session): Promise<SkeinError> {
    const previous = this.#session;
    this.#session = session;
    let mesh = EMPTY_MESH;
    const showOnline = () => (this.#state.value = { phase: 'online', session, mesh });
    const stops = [
      session.signaling.on('mesh', ({ members, covered }) => {
        mesh = { members, covered };
        showOnline();
      }),
      session.signaling.on('away', ({ error, retryInMs }) => {
        this.#state.value = { phase: 'reconnecting', session, mesh, error, retryInMs };
      }),
      session.signaling.on('resumed', showOnline),
      // What it offers is the session's to know, and for those who watch this to hear.
      session.signaling.on('models', showOnline),
    ];
    showOnline();
    // Links need no server: an old session's went on until there was a new one.
    previous?.dispose();
    const error = await session.closed;
    for (const stop of stops) stop();
    return error;
  }
}
