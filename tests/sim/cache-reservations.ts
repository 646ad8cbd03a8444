import type { Run } from './run.ts';
import type { SimulatedPeer } from './simulated-peer.ts';
import { BLOCK_TOKENS, blocksOf } from './stage-sequence.ts';

interface Reservation {
  readonly run: Run;
  readonly claims: readonly {
    readonly peer: SimulatedPeer;
    /** What the peer had loaded when the room was wanted: with another slice it is another cache. */
    readonly loads: number;
    readonly tokenLayers: number;
  }[];
  readonly onGranted: () => void;
}

/**
 * Room in the caches of all hops of a route, taken at once and before anything is computed. Who comes later is served
 * earlier only where it takes nothing on a hop that an earlier one waits for.
 */
export class CacheReservations {
  readonly #granted = new Map<Run, Reservation>();
  readonly #waiting = new Map<Run, Reservation>();

  add(run: Run, answerTokens: number, peers: readonly SimulatedPeer[], onGranted: () => void): void {
    const tokens = blocksOf(run.promptRows + answerTokens) * BLOCK_TOKENS;
    const claims = peers.map((peer, index) => {
      const hop = run.hops[index];
      const layers = hop === undefined ? 0 : hop.layerEnd - hop.layerStart;
      // A request that is longer than a whole cache takes all of it.
      return {
        peer,
        loads: peer.loads,
        tokenLayers: Math.min(tokens * layers, peer.capacityTokenLayers),
      };
    });
    this.#waiting.set(run, { run, claims, onGranted });
    this.#grant();
  }

  remove(run: Run): void {
    this.#waiting.delete(run);
    const reservation = this.#granted.get(run);
    if (reservation === undefined) return;
    this.#granted.delete(run);
    for (const { peer, loads, tokenLayers } of reservation.claims) {
      if (peer.loads === loads) peer.reservedTokenLayers -= tokenLayers;
    }
    this.#grant();
  }

  #grant(): void {
    const wanted = new Set<SimulatedPeer>();
    for (const reservation of [...this.#waiting.values()]) {
      const { run, claims, onGranted } = reservation;
      const isBlocked = claims.some(
        ({ peer, loads, tokenLayers }) =>
          wanted.has(peer) ||
          (peer.loads === loads && peer.reservedTokenLayers + tokenLayers > peer.capacityTokenLayers),
      );
      if (isBlocked) {
        for (const { peer } of claims) wanted.add(peer);
        continue;
      }
      for (const { peer, loads, tokenLayers } of claims) {
        if (peer.loads !== loads) continue;
        peer.reservedTokenLayers += tokenLayers;
        peer.checkRoom(peer.reservedTokenLayers);
      }
      this.#waiting.delete(run);
      this.#granted.set(run, reservation);
      onGranted();
    }
  }
}
