import { SkeinError } from '../src/protocol/errors.ts';
import type { Capability, LayerWish, ModelCard } from '../src/protocol/signaling.ts';
import { fits, sliceBytes } from './scheduler/cost.ts';
import type { Assignment } from './scheduler/types.ts';

const BYTES_PER_MIB = 1024 ** 2;

/** @returns the slice that a peer with this capability wishes for, or what is in the way of it, in words for its owner. */
export function wishedSlice(
  models: readonly ModelCard[],
  { model, layerStart, layerEnd }: LayerWish,
  { memoryBytes }: Pick<Capability, 'memoryBytes'>,
): Assignment | SkeinError {
  const card = model === undefined ? models[0] : models.find(({ id }) => id === model);
  if (card === undefined) {
    const offered = models.map(({ id }) => id).join(', ');
    return new SkeinError(
      'model-missing',
      `This server offers ${offered || 'no models'}${model === undefined ? '' : `, not ${model}`}.`,
    );
  }
  const slice = { model: card.id, layerStart, layerEnd };
  if (layerStart >= layerEnd || layerEnd > card.layerCount) {
    return new SkeinError(
      'bad-argument',
      `${card.id} has ${card.layerCount} layers, 0:${card.layerCount}. There are no ${sliceInWords(slice)}; the end is exclusive.`,
    );
  }
  if (fits(card, memoryBytes, slice)) return slice;
  const [needed, lent] = [sliceBytes(card, slice), memoryBytes].map(inMebibytes);
  return new SkeinError(
    'out-of-memory',
    `${capitalized(sliceInWords(slice))} take ${needed} with room for their cache, and this device lends ${lent}. Lend more memory, or ask for fewer layers.`,
  );
}

export function sliceInWords({ model, layerStart, layerEnd }: Assignment): string {
  return `layers [${layerStart}, ${layerEnd}) of ${model}`;
}

export function capitalized(words: string): string {
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function inMebibytes(bytes: number): string {
  return `${(bytes / BYTES_PER_MIB).toFixed(1)} MiB`;
}
