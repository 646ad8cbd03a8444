import { decodeFrame, peekFrameType } from '../../src/protocol/frame-codec.ts';
import type { Frame } from '../../src/protocol/frames.ts';
import type { PeerId } from '../../src/protocol/ids.ts';
import type { FrameTransport } from '../../src/protocol/transport.ts';

type Bytes = Uint8Array<ArrayBuffer>;

/** A frame on its way. */
export interface Sending {
  readonly to: PeerId;
  readonly bytes: Bytes;
}

/** What a liar makes of the frames of the honest stage inside it. */
export interface Meddling {
  /** @returns what is sent instead. */
  readonly outgoing?: (frame: Frame, sending: Sending) => readonly Sending[];
  /** @returns whether the stage inside gets to see it. */
  readonly incoming?: (frame: Frame, from: PeerId) => boolean;
}

/** A transport that changes what goes through it. Frames that do not decode pass as they are. */
export class MeddlingTransport implements FrameTransport {
  readonly self: PeerId;

  constructor(
    private readonly inner: FrameTransport,
    private readonly meddling: Meddling,
  ) {
    this.self = inner.self;
  }

  async send(to: PeerId, bytes: Bytes): Promise<void> {
    const sending = { to, bytes };
    const all = this.meddling.outgoing?.(decodeFrame(bytes), sending) ?? [sending];
    for (const each of all) await this.inner.send(each.to, each.bytes);
  }

  onFrame(listener: (from: PeerId, frame: Bytes) => unknown): () => void {
    return this.inner.onFrame((from, bytes) => {
      const isSeen = this.meddling.incoming?.(decodeFrame(bytes), from) ?? true;
      return isSeen ? listener(from, bytes) : null;
    });
  }

  onPeerLost(listener: Parameters<FrameTransport['onPeerLost']>[0]): () => void {
    return this.inner.onPeerLost(listener);
  }

  /** A liar complains about nobody. */
  reject(): void {
    return;
  }
}

/** Rows for `peer` are taken and never done: it does not read. What is small still fits into the queue. */
export function notTo(transport: FrameTransport, peer: PeerId): FrameTransport {
  return {
    self: transport.self,
    send: (to, bytes) => {
      const isStuck = to === peer && peekFrameType(bytes) === 'activations';
      return isStuck ? new Promise(() => undefined) : transport.send(to, bytes);
    },
    onFrame: (listener) => transport.onFrame(listener),
    onPeerLost: (listener) => transport.onPeerLost(listener),
    reject: (from, reason) => transport.reject(from, reason),
  };
}
