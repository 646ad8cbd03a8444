import type { ModelId } from '../src/protocol/ids.ts';
import { CACHE_RESERVE_TOKENS } from '../src/protocol/limits.ts';
import { cacheTokensThatFit } from '../src/protocol/slice-bytes.ts';
import type { ModelCard } from '../src/protocol/signaling.ts';
import { CACHE_OVERCOMMIT } from './limits.ts';
import type { Measurements } from './measurements.ts';
import type { Peers } from './peers.ts';
import type { RequestLedger } from './request-ledger.ts';
import type { Network, ServingMember } from './scheduler/types.ts';

/** What changes less often than requests come. */
type SteadyPart = Omit<ServingMember, 'inFlight' | 'reservedTokens'>;

/** As long as nobody came or went, and the network is the same, which is another one every five seconds, and when somebody joins. */
interface Known {
  readonly version: number;
  readonly network: Network;
  readonly steady: readonly SteadyPart[];
}

/** Who serves a model, as routing wants to know it; what does not change with every request is kept. */
export class ServingMembers {
  readonly #peers: Peers;
  readonly #measurements: Measurements;
  readonly #ledger: RequestLedger;
  readonly #known = new Map<ModelId, Known>();

  constructor(peers: Peers, measurements: Measurements, ledger: RequestLedger) {
    this.#peers = peers;
    this.#measurements = measurements;
    this.#ledger = ledger;
  }

  of(card: ModelCard, nowMs: number): ServingMember[] {
    return this.#steadyPartsOf(card, nowMs).map((steady) => ({
      ...steady,
      inFlight: this.#ledger.inFlight(steady.peer),
      reservedTokens: this.#ledger.reservedTokens(steady.peer),
    }));
  }

  #steadyPartsOf(card: ModelCard, nowMs: number): readonly SteadyPart[] {
    const { version } = this.#peers;
    const network = this.#measurements.network(nowMs);
    const known = this.#known.get(card.id);
    if (known?.version === version && known.network === network) return known.steady;
    const steady = this.#peers.serving(card.id).map(({ peer, layerStart, layerEnd }) => {
      const measured = this.#measurements;
      const capability = measured.capability(peer);
      const slice = { layerStart, layerEnd };
      // A stage that says it has more than its memory holds beside its weights is not believed.
      const fits = Math.max(CACHE_RESERVE_TOKENS, cacheTokensThatFit(card, capability.memoryBytes, slice));
      const cacheTokens = Math.min(measured.cacheTokens(peer) ?? CACHE_RESERVE_TOKENS, fits);
      return {
        peer,
        capability,
        region: measured.region(peer),
        cached: [],
        ...slice,
        cacheTokens: cacheTokens * CACHE_OVERCOMMIT,
        pace: measured.pace(peer),
      };
    });
    this.#known.set(card.id, { version, network, steady });
    return steady;
  }
}
