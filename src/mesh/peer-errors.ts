import { SkeinError } from '../protocol/errors.ts';
import type { ErrorCode } from '../protocol/errors.ts';
import type { PeerId } from '../protocol/ids.ts';

/** An error that names the peer at fault in `data.peer`, so that the next route can avoid it. */
export function peerError(code: ErrorCode, peer: PeerId, what: string, cause?: unknown): SkeinError {
  return new SkeinError(code, `Peer ${peer} ${what}`, { data: { peer }, cause });
}

export function peerLost(peer: PeerId, cause?: unknown): SkeinError {
  return peerError('peer-lost', peer, 'is gone. Ask for a new route.', cause);
}

/** Wraps whatever was thrown; an error that names nobody yet names `peer`. */
export function blame(peer: PeerId, thrown: unknown): SkeinError {
  const error = SkeinError.from(thrown);
  if ('peer' in error.data) return error;
  return new SkeinError(error.code, error.message, { data: { ...error.data, peer }, cause: error });
}
