import type { SkeinError } from '../protocol/errors.ts';
import type { ServerMessage } from '../protocol/signaling.ts';

/** What those hear who work over a session with the server: what it says, and when it is away and back. */
export type SessionEvent =
  | ServerMessage
  /** The connection is lost, or could not be had again; the next attempt comes after `retryInMs`. */
  | { readonly type: 'away'; readonly error: SkeinError; readonly retryInMs: number }
  /** It is back under the same id, perhaps with a server that was restarted and knows nobody. */
  | { readonly type: 'resumed'; readonly welcome: Extract<ServerMessage, { type: 'welcome' }> };

export type SessionEventOf<Type extends SessionEvent['type']> = Extract<SessionEvent, { type: Type }>;
