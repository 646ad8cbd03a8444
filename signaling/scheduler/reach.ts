import type { LayerRange } from './types.ts';

/** Whether slices lead from the first layer to the end, each used whole. */
export function isWhole(layerCount: number, ranges: readonly LayerRange[]): boolean {
  return reachedFromStart(layerCount, ranges)[layerCount] === true;
}

/**
 * Which layers slices reach from the first one, and from which they reach the last: a slice between the two is part of a
 * route, any other is of no use to anybody.
 */
export class Reach {
  /** By boundary: whether slices lead from layer 0 to it, and from it to the end. */
  readonly #fromStart: boolean[];
  readonly #toEnd: boolean[];

  constructor(layerCount: number, ranges: readonly LayerRange[]) {
    this.#fromStart = reachedFromStart(layerCount, ranges);
    this.#toEnd = new Array<boolean>(layerCount + 1).fill(false);
    this.#toEnd[layerCount] = true;
    for (const { layerStart, layerEnd } of ranges.toSorted((a, b) => b.layerEnd - a.layerEnd)) {
      if (this.#toEnd[layerEnd] === true) this.#toEnd[layerStart] = true;
    }
  }

  /** Whether a slice is part of a route, or would be. */
  isUseful({ layerStart, layerEnd }: LayerRange): boolean {
    return this.#fromStart[layerStart] === true && this.#toEnd[layerEnd] === true;
  }
}

/** By boundary. */
function reachedFromStart(layerCount: number, ranges: readonly LayerRange[]): boolean[] {
  const reached = new Array<boolean>(layerCount + 1).fill(false);
  reached[0] = true;
  for (const { layerStart, layerEnd } of ranges.toSorted((a, b) => a.layerStart - b.layerStart)) {
    if (reached[layerStart] === true) reached[layerEnd] = true;
  }
  return reached;
}
