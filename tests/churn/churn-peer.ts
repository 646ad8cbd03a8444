import type { PeerId } from '../../src/protocol/ids.ts';

/** A device that lends itself to the mesh, and leaves it when the churn says so. */
export interface ChurnPeer {
  readonly name: string;
  readonly kind: 'tab' | 'node';
  /** Whether it has measured itself and offered what it has. */
  isLending(): Promise<boolean>;
  /** What the server calls it now; null before it is known. */
  peerId(): Promise<PeerId | null>;
  /** Comes to the mesh; resolves when it is on its way, long before it serves. */
  start(): Promise<void>;
  /** Stops as a person would have it stop: answers under way are finished. Resolves when it was told. */
  leave(): Promise<void>;
  /** Vanishes without a word. */
  crash(): Promise<void>;
  /** Resolves when a peer that was told to leave has ended, and may start anew. */
  gone(): Promise<void>;
}
