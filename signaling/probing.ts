import type { PeerId } from '../src/protocol/ids.ts';
import type { ServerMessage } from '../src/protocol/signaling.ts';
import { PROBE_INTERVAL_MS } from './limits.ts';
import type { Measurements } from './measurements.ts';
import type { Peers } from './peers.ts';

export interface ProbingDeps {
  readonly peers: Peers;
  readonly measurements: Measurements;
  readonly send: (to: PeerId, message: ServerMessage) => void;
}

/** Asks peers that lend their device for the ways to others, when they come and now and then. */
export class Probing {
  readonly #deps: ProbingDeps;
  /** When each of them was last asked. */
  readonly #askedMs = new Map<PeerId, number>();

  constructor(deps: ProbingDeps) {
    this.#deps = deps;
  }

  /** Asks those whose turn it is. */
  ask(nowMs: number): void {
    const { peers, measurements, send } = this.#deps;
    for (const [peer] of peers.lenders()) {
      if (nowMs - (this.#askedMs.get(peer) ?? -Infinity) < PROBE_INTERVAL_MS) continue;
      this.#askedMs.set(peer, nowMs);
      const others = measurements.probesFor(peer);
      if (others.length > 0) send(peer, { type: 'probe', peers: others });
    }
  }

  /** Of a peer that no longer lends its device. */
  forget(peer: PeerId): void {
    this.#askedMs.delete(peer);
  }
}
