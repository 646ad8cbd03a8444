import type { PeerId } from '../protocol/ids.ts';
import type { SessionEvent, SessionEventOf } from './session-events.ts';
import type { ClientMessage, LinkReport, ModelCard } from '../protocol/signaling.ts';
import type { FrameTransport } from '../protocol/transport.ts';

/** What holders of a session need of its connection to the server. */
export interface SessionSignaling {
  send(message: ClientMessage): void;
  /** @returns a function that stops listening. */
  on<Type extends SessionEvent['type']>(
    type: Type,
    listener: (event: SessionEventOf<Type>) => void,
  ): () => void;
}

/** A transport that knows the ways to its peers. */
export interface MeasuredTransport extends FrameTransport {
  /** What was measured of the links lately. */
  linkStats(): LinkReport[];
  /** Measures the ways to peers, which are dialled if need be. Never rejects; those that do not answer have no stats. */
  probe(peers: readonly PeerId[]): Promise<void>;
}

/** One stay on the mesh under one id, over as many connections to the server as it takes. */
export interface MeshSession<Signaling extends SessionSignaling = SessionSignaling> {
  readonly self: PeerId;
  /** As the server said last, those that are being removed too. */
  readonly models: readonly ModelCard[];
  readonly signaling: Signaling;
  readonly transport: MeasuredTransport;
}
