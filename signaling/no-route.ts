import type { PeerId } from '../src/protocol/ids.ts';
import { SkeinError } from '../src/protocol/errors.ts';
import type { MeshMember, ModelCard } from '../src/protocol/signaling.ts';
import { bestChain } from './scheduler/chain.ts';
import { layersInWords } from './scheduler/missing.ts';

/**
 * Why a model cannot answer now, and what to wait for.
 * @param members everybody who holds or loads a slice of any model.
 * @param missing what the scheduler says nobody holds, if anything.
 */
export function noRouteError(
  card: ModelCard,
  members: readonly MeshMember[],
  exclude: ReadonlySet<PeerId>,
  missing: string | undefined,
): SkeinError {
  const ofModel = members.filter((member) => member.model === card.id);
  const words = missing ?? whatKeepsThemBack(card, ofModel, exclude);
  return new SkeinError('no-route', `${card.id} cannot answer now: ${words}.`, { data: { model: card.id } });
}

function whatKeepsThemBack(
  card: ModelCard,
  members: readonly MeshMember[],
  exclude: ReadonlySet<PeerId>,
): string {
  const serving = members.filter((member) => member.state === 'serving');
  const unloaded = bestChain(card.layerCount, serving).gaps;
  if (unloaded.length > 0) {
    return `${unloaded.map(layersInWords).join(' and ')} still loading; try again in a moment`;
  }
  const allowed = serving.filter((member) => !exclude.has(member.peer));
  const unusable = bestChain(card.layerCount, allowed).gaps;
  return (
    `nobody but the peers that the request excludes serves ${unusable.map(layersInWords).join(' and ')}; ` +
    'waiting for another peer'
  );
}
