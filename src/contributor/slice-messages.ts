import type { SkeinError } from '../protocol/errors.ts';
import { MAX_CACHED_SLICES } from '../protocol/limits.ts';
import type { Capability, LayerWish, ModelCard, SliceName } from '../protocol/signaling.ts';
import type { AssignedSlice } from './contributor-state.ts';
import type { MeshSession } from '../mesh/mesh-session.ts';

/** What a contributor says of its slices to the server. */
export function sayJoin(
  { signaling }: MeshSession,
  capability: Capability,
  cached: readonly SliceName[],
  /** What answers here already. */
  holds: SliceName | null,
  /** What this device is to hold, and nothing else; null for whatever the mesh needs. */
  wish: LayerWish | null,
): void {
  signaling.send({
    type: 'join',
    capability,
    cached: cached.slice(0, MAX_CACHED_SLICES),
    ...(holds && { holds: nameOf(holds) }),
    ...(wish && { wish }),
  });
}

/** @param turn of the `assign`, where it had one. */
export function sayServing({ signaling }: MeshSession, slice: SliceName, turn?: number): void {
  signaling.send({ type: 'serving', ...nameOf(slice), ...(turn !== undefined && { turn }) });
}

export function sayReloading({ signaling }: MeshSession, slice: SliceName, error: SkeinError): void {
  signaling.send({ type: 'reloading', ...nameOf(slice), error: error.toShape() });
}

export function assignedSlice(card: ModelCard, { model, layerStart, layerEnd }: SliceName): AssignedSlice {
  const { layerCount, quantization } = card;
  return { model, layerStart, layerEnd, layerCount, quantization };
}

export function sameSlice(a: SliceName, b: SliceName): boolean {
  return a.model === b.model && a.layerStart === b.layerStart && a.layerEnd === b.layerEnd;
}

function nameOf({ model, layerStart, layerEnd }: SliceName): SliceName {
  return { model, layerStart, layerEnd };
}
