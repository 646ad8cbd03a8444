import type { PeerId } from './ids.ts';

/** Carries whole frames between peers, in order per pair. A peer reaches itself too. */
export interface FrameTransport {
  readonly self: PeerId;
  /**
   * Dials the peer if need be. Resolves when the frame is queued and the queue is below its high-water mark.
   * @throws SkeinError `peer-lost` when the peer cannot be reached, `timeout` when dialling takes too long.
   */
  send(to: PeerId, frame: Uint8Array<ArrayBuffer>): Promise<void>;
  /** @returns a function that stops listening. */
  onFrame(listener: (from: PeerId, frame: Uint8Array<ArrayBuffer>) => void): () => void;
  /** A link that was open is gone. @returns a function that stops listening. */
  onPeerLost(listener: (peer: PeerId) => void): () => void;
}
