import type { PeerId } from '../../../src/protocol/ids.ts';

/** Round trips that were measured once and are believed from then on. */
export class RoundTrips {
  /** By the smaller id, then by the other. */
  readonly #seconds = new Map<PeerId, Map<PeerId, number>>();

  constructor(private readonly ping: (a: PeerId, b: PeerId) => number) {}

  seconds(a: PeerId, b: PeerId): number {
    const [low, high] = a < b ? [a, b] : [b, a];
    let ofLow = this.#seconds.get(low);
    if (ofLow === undefined) {
      ofLow = new Map();
      this.#seconds.set(low, ofLow);
    }
    const known = ofLow.get(high);
    if (known !== undefined) return known;
    const measured = this.ping(a, b);
    ofLow.set(high, measured);
    return measured;
  }
}
