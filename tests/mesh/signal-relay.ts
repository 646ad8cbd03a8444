import type { ModelId, PeerId } from '../../src/protocol/ids.ts';
import type { ClientMessage, ServerMessage } from '../../src/protocol/signaling.ts';
import type { SignalRelay } from '../../src/mesh/peer-mesh.ts';
import { Listeners } from '../../src/mesh/listeners.ts';

type Signal = Extract<ClientMessage, { type: 'signal' }>;

/** The server's relay, in memory: in order, through JSON, with the sender stamped on. */
export class InMemoryRelay {
  readonly #clients = new Map<PeerId, Listeners<[message: ServerMessage]>>();
  /** Every signal that passed, in order. */
  readonly log: { readonly from: PeerId; readonly to: PeerId; readonly data: unknown }[] = [];

  client(self: PeerId): SignalRelay {
    const inbox = new Listeners<[message: ServerMessage]>();
    this.#clients.set(self, inbox);
    return {
      send: (signal) => this.#relay(self, signal),
      on: (type, listener) =>
        inbox.add((message) => {
          if (message.type === type) listener(message as Parameters<typeof listener>[0]);
        }),
    };
  }

  /** The peer's socket is closed. */
  remove(peer: PeerId): void {
    this.#clients.delete(peer);
  }

  /** The server tells everybody who lends a device. */
  announce(peers: readonly PeerId[]): void {
    const members = peers.map((peer) => {
      const slice = { model: 'tiny' as ModelId, layerStart: 0, layerEnd: 1 };
      return { peer, ...slice, state: 'serving' as const, adapter: 'GPU' };
    });
    for (const client of this.#clients.values()) client.tell({ type: 'mesh', members, covered: [] });
  }

  /** A signal as if `from` had sent it. */
  forge(from: PeerId, to: PeerId, data: unknown): void {
    this.#relay(from, { type: 'signal', to, data });
  }

  #relay(from: PeerId, signal: Signal): void {
    const data: unknown = JSON.parse(JSON.stringify(signal.data));
    this.log.push({ from, to: signal.to, data });
    queueMicrotask(() => {
      const receiver = this.#clients.get(signal.to);
      if (receiver) receiver.tell({ type: 'signal', from, data });
      else {
        const error = { code: 'peer-lost' as const, message: 'absent', data: { peer: signal.to } };
        this.#clients.get(from)?.tell({ type: 'error', error });
      }
    });
  }
}
