import type { PeerId } from '../src/protocol/ids.ts';
import { SkeinError } from '../src/protocol/errors.ts';
import type { ModelCard } from '../src/protocol/signaling.ts';
import type { Peers } from './peers.ts';
import { bestChain } from './scheduler/chain.ts';
import { layersInWords } from './scheduler/missing.ts';

/**
 * Why a model cannot answer now, and what to wait for. `data.loading` is true where waiting is all that is needed: somebody
 * loads whatever is missing.
 * @param missing what the scheduler says nobody holds, if anything.
 */
export function noRouteError(
  card: ModelCard,
  peers: Peers,
  exclude: ReadonlySet<PeerId>,
  missing: string | undefined,
): SkeinError {
  const serving = peers.serving(card.id);
  const unloaded = bestChain(card.layerCount, serving).gaps;
  const isLoading = missing === undefined && unloaded.length > 0;
  const words =
    missing ??
    (isLoading
      ? `${unloaded.map(layersInWords).join(' and ')} still loading; try again in a moment`
      : whatIsExcluded(card, serving, exclude));
  return new SkeinError('no-route', `${card.id} cannot answer now: ${words}.`, {
    data: { model: card.id, ...(isLoading && { loading: true }) },
  });
}

function whatIsExcluded(
  card: ModelCard,
  serving: ReturnType<Peers['serving']>,
  exclude: ReadonlySet<PeerId>,
): string {
  const allowed = serving.filter((member) => !exclude.has(member.peer));
  const unusable = bestChain(card.layerCount, allowed).gaps;
  return (
    `nobody but the peers that the request excludes serves ${unusable.map(layersInWords).join(' and ')}; ` +
    'waiting for another peer'
  );
}
