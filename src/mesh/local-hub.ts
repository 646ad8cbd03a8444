import type { SkeinError } from '../protocol/errors.ts';
import type { PeerId } from '../protocol/ids.ts';
import type { FrameTransport } from '../protocol/transport.ts';
import { Listeners } from './listeners.ts';
import { peerLost } from './peer-errors.ts';

/** Peers in one process. Frames are copied, arrive in order and never get lost, and are delivered after `send` returns. */
export class LocalHub {
  readonly #members = new Map<PeerId, LocalTransport>();
  readonly #rejected = new Map<PeerId, number>();

  /** The transport of a peer, which is on the hub from now on. */
  transport(self: PeerId): FrameTransport {
    const existing = this.#members.get(self);
    if (existing) return existing;
    const member = new LocalTransport(
      self,
      (peer) => this.#members.get(peer),
      (from) => this.#rejected.set(from, this.rejectedFrom(from) + 1),
    );
    this.#members.set(self, member);
    return member;
  }

  /** Frames of a peer that others refused. Here nobody is cut off for them. */
  rejectedFrom(peer: PeerId): number {
    return this.#rejected.get(peer) ?? 0;
  }

  /** The peer vanishes: frames on their way to it are lost, and whoever exchanged frames with it hears of it. */
  remove(peer: PeerId): void {
    const gone = this.#members.get(peer);
    if (!gone) return;
    this.#members.delete(peer);
    for (const member of this.#members.values()) {
      if (member.linked.delete(peer)) member.lost.tell(peer, peerLost(peer));
    }
  }
}

class LocalTransport implements FrameTransport {
  readonly frames = new Listeners<[from: PeerId, frame: Uint8Array<ArrayBuffer>]>();
  readonly lost = new Listeners<[peer: PeerId, reason: SkeinError]>();
  readonly linked = new Set<PeerId>();

  constructor(
    readonly self: PeerId,
    private readonly find: (peer: PeerId) => LocalTransport | undefined,
    private readonly countRejection: (from: PeerId) => void,
  ) {}

  send(to: PeerId, frame: Uint8Array<ArrayBuffer>): Promise<void> {
    const receiver = this.find(to);
    if (this.find(this.self) !== this || !receiver) return Promise.reject(peerLost(to));
    this.linked.add(to);
    receiver.linked.add(this.self);
    const bytes = frame.slice();
    queueMicrotask(() => {
      if (this.find(to) === receiver) receiver.frames.tell(this.self, bytes);
    });
    return Promise.resolve();
  }

  onFrame(listener: (from: PeerId, frame: Uint8Array<ArrayBuffer>) => void): () => void {
    return this.frames.add(listener);
  }

  onPeerLost(listener: (peer: PeerId, reason: SkeinError) => void): () => void {
    return this.lost.add(listener);
  }

  reject(from: PeerId): void {
    this.countRejection(from);
  }
}
