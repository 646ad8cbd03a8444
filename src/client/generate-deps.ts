import type { SignalingSession } from '../mesh/signaling-session.ts';
import type { Clock } from '../protocol/clock.ts';
import type { FrameTransport } from '../protocol/transport.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import type { GenerateDeps } from './generate.ts';

/** What a generation takes of a session on the mesh. */
export interface RequesterSession {
  readonly transport: FrameTransport;
  readonly signaling: Pick<SignalingSession, 'requestRoute' | 'endRoute' | 'suspect'>;
  readonly clock: Clock;
}

export interface GenerateDepsOptions {
  /**
   * The session of the moment. Where one follows another, with another id, the routes of the first end with it, and a
   * generation takes its next over the second.
   */
  readonly current: () => RequesterSession;
  readonly tokenizer: Tokenizer;
}

/** A generation over the mesh. */
export function generateDeps({ current, tokenizer }: GenerateDepsOptions): GenerateDeps {
  return {
    get transport() {
      return current().transport;
    },
    tokenizer,
    get clock() {
      return current().clock;
    },
    requestRoute: (query, signal, onQueued) => current().signaling.requestRoute(query, signal, onQueued),
    endRoute: (requestId, outcome) => current().signaling.endRoute(requestId, outcome),
    suspect: (requestId, peer, error) => current().signaling.suspect(requestId, peer, error),
    now: () => current().clock.now(),
    sleep: (ms, signal) => sleep(current().clock, ms, signal),
  };
}

/** Resolves after the time, rejects on abort. */
function sleep(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const abort = () => {
      cancel();
      reject(signal.reason as Error);
    };
    const cancel = clock.after(ms, () => {
      signal.removeEventListener('abort', abort);
      resolve();
    });
    signal.addEventListener('abort', abort, { once: true });
  });
}
