import type { LayerRange } from './scheduler/types.ts';

/** Whether slices lead from layer 0 to the head, each used whole. */
export function isCovered(layerCount: number, slices: Iterable<LayerRange>): boolean {
  const endsByStart = new Map<number, number[]>();
  for (const { layerStart, layerEnd } of slices) {
    const ends = endsByStart.get(layerStart);
    if (ends === undefined) endsByStart.set(layerStart, [layerEnd]);
    else ends.push(layerEnd);
  }
  const reached = new Set([0]);
  // A set takes in what is added while it is walked.
  for (const layer of reached) for (const end of endsByStart.get(layer) ?? []) reached.add(end);
  return reached.has(layerCount);
}
