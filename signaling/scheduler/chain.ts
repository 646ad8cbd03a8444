import { rangeKey } from './slices.ts';
import type { LayerRange } from './types.ts';

/** A way through the model: slices that exist, and the gaps between them. */
export interface Chain<Slice extends LayerRange> {
  readonly slices: readonly Slice[];
  readonly gaps: readonly LayerRange[];
}

interface Step<Slice> {
  readonly missingLayers: number;
  readonly pieces: number;
  readonly from: number;
  /** Null for a gap. */
  readonly slice: Slice | null;
}

/**
 * The way from layer 0 to `layerCount` over existing slices that leaves the fewest layers to nobody, and of those the
 * one with the fewest pieces. A slice is used whole: a stage computes all its layers or none. Between equals the
 * earlier slice wins.
 */
export function bestChain<Slice extends LayerRange>(
  layerCount: number,
  slices: readonly Slice[],
): Chain<Slice> {
  const distinct = firstOfEveryRange(slices);
  const edges = distinct.flatMap((slice) => [slice.layerStart, slice.layerEnd]);
  const boundaries = [...new Set([0, layerCount, ...edges])].sort((a, b) => a - b);
  const steps = new Map<number, Step<Slice>>();

  for (const to of boundaries.slice(1)) {
    const arrivals = [
      ...distinct
        .filter((slice) => slice.layerEnd === to)
        .map((slice) => step(steps, slice.layerStart, 0, slice)),
      ...boundaries.filter((from) => from < to).map((from) => step(steps, from, to - from, null)),
    ];
    const best = arrivals.reduce((a, b) => (isBetter(b, a) ? b : a));
    steps.set(to, best);
  }

  const chain: { slices: Slice[]; gaps: LayerRange[] } = { slices: [], gaps: [] };
  for (let end = layerCount, last = steps.get(end); last !== undefined; last = steps.get(end)) {
    if (last.slice === null) chain.gaps.unshift({ layerStart: last.from, layerEnd: end });
    else chain.slices.unshift(last.slice);
    end = last.from;
  }
  return chain;
}

function firstOfEveryRange<Slice extends LayerRange>(slices: readonly Slice[]): readonly Slice[] {
  const known = new Map<number, Slice>();
  for (const slice of slices) {
    const key = rangeKey(slice);
    if (!known.has(key)) known.set(key, slice);
  }
  return [...known.values()];
}

function step<Slice>(
  steps: ReadonlyMap<number, Step<Slice>>,
  from: number,
  missingLayers: number,
  slice: Slice | null,
): Step<Slice> {
  const before = steps.get(from);
  return {
    missingLayers: (before?.missingLayers ?? 0) + missingLayers,
    pieces: (before?.pieces ?? 0) + 1,
    from,
    slice,
  };
}

function isBetter(a: Step<unknown>, b: Step<unknown>): boolean {
  if (a.missingLayers !== b.missingLayers) return a.missingLayers < b.missingLayers;
  return a.pieces < b.pieces;
}
