import { InvalidArgumentError } from 'commander';

/** `[layerStart, layerEnd)`. */
export interface LayerRange {
  readonly layerStart: number;
  readonly layerEnd: number;
}

const MAX_LAYER = 1024;

/** For commander: `a:b`, the layers from a up to b, without b. Whether a model has them is for the server to say. */
export function parseLayers(text: string): LayerRange {
  const [, start, end] = /^(\d+):(\d+)$/.exec(text.trim()) ?? [];
  const [layerStart, layerEnd] = [Number(start), Number(end)];
  if (!(layerStart < layerEnd && layerEnd <= MAX_LAYER)) {
    throw new InvalidArgumentError('Give two layers as a:b with a < b, such as 0:14 for layers 0 to 13.');
  }
  return { layerStart, layerEnd };
}
