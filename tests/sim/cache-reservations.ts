import type { Run } from './run.ts';
import type { SimulatedPeer } from './simulated-peer.ts';
import { BLOCK_TOKENS, blocksOf } from './stage-sequence.ts';

interface Claim {
  readonly peer: SimulatedPeer;
  /** What the peer had loaded when the room was taken: with another slice it is another cache. */
  readonly loads: number;
  readonly tokenLayers: number;
}

/** Room in the caches of all hops of a route, taken at once and before anything is computed. */
export class CacheReservations {
  readonly #granted = new Map<Run, readonly Claim[]>();

  /**
   * Nobody waits for room: where one hop lacks it, nothing is taken.
   * @param answerTokens the longest that the answer may get.
   * @param peers of the hops of the run, in order.
   * @returns the first peer without room, or null when all is taken.
   */
  take(run: Run, answerTokens: number, peers: readonly SimulatedPeer[]): SimulatedPeer | null {
    const tokens = blocksOf(run.promptRows + answerTokens) * BLOCK_TOKENS;
    const claims = peers.map((peer, index): Claim => {
      const hop = run.hops[index];
      const layers = hop === undefined ? 0 : hop.layerEnd - hop.layerStart;
      // A request that is longer than a whole cache takes all of it.
      const tokenLayers = Math.min(tokens * layers, peer.capacityTokenLayers);
      return { peer, loads: peer.loads, tokenLayers };
    });
    const full = claims.find(
      ({ peer, tokenLayers }) => peer.reservedTokenLayers + tokenLayers > peer.capacityTokenLayers,
    );
    if (full !== undefined) return full.peer;
    for (const { peer, tokenLayers } of claims) {
      peer.reservedTokenLayers += tokenLayers;
      peer.checkRoom(peer.reservedTokenLayers);
    }
    this.#granted.set(run, claims);
    return null;
  }

  remove(run: Run): void {
    for (const { peer, loads, tokenLayers } of this.#granted.get(run) ?? []) {
      if (peer.loads === loads) peer.reservedTokenLayers -= tokenLayers;
    }
    this.#granted.delete(run);
  }
}
