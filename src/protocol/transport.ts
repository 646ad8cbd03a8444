import type { SkeinError } from './errors.ts';
import type { PeerId } from './ids.ts';

/** Carries whole frames between peers, in order per pair. A peer reaches itself too. */
export interface FrameTransport {
  readonly self: PeerId;
  /**
   * Dials the peer if need be. Resolves when the frame is queued and the queue is below its high-water mark.
   * @throws SkeinError `peer-lost` when the peer cannot be reached, `timeout` when dialling takes too long.
   */
  send(to: PeerId, frame: Uint8Array<ArrayBuffer>): Promise<void>;
  /**
   * A frame counts as waiting here until every listener returned and what it returned, if that is a promise, is done: a peer
   * of which too much waits is held back, and cut off if it sends all the same.
   * @returns a function that stops listening.
   */
  onFrame(listener: (from: PeerId, frame: Uint8Array<ArrayBuffer>) => unknown): () => void;
  /** A link that was open is gone; `reason` names the peer in `data.peer`. @returns a function that stops listening. */
  onPeerLost(listener: (peer: PeerId, reason: SkeinError) => void): () => void;
  /**
   * Somebody here refused a frame of this peer as one that nobody honest sends. Now and then that is forgiven; a peer that goes
   * on with it loses its link, and gets no other for a while.
   */
  reject(from: PeerId, reason: SkeinError): void;
}
