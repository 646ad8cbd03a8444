import type { SlidingWindow } from '../architecture.ts';
import { corrupt, show, unsupported } from '../config-errors.ts';
import type { GgufValue } from './gguf-header.ts';

const WINDOW = 'attention.sliding_window';
const PATTERN = 'attention.sliding_window_pattern';
/** What layers with a window may have of their own, each with the key that all layers have it under. */
const OWN: readonly (readonly [own: string, shared: string])[] = [
  ['rope.freq_base_swa', 'rope.freq_base'],
  ['rope.dimension_count_swa', 'rope.dimension_count'],
  ['attention.key_length_swa', 'attention.key_length'],
  ['attention.value_length_swa', 'attention.value_length'],
];

/**
 * Which layers see only the latest keys, of which a window of n tokens has n, the token's own among them. The pattern says it layer by layer;
 * without one it is every layer in a `llama` file, as in Mistral, from which these are made. Of Qwen only some layers ever have one.
 * A pattern that is a number is a period, and whether it begins or ends with the layer that sees everything is not in the file.
 * @returns null when every layer sees all keys; a window of 0 tokens is none.
 * @throws SkeinError `model-unsupported` or `model-corrupt`, naming the key.
 */
export function ggufWindow(
  metadata: ReadonlyMap<string, GgufValue>,
  family: string,
  layerCount: number,
  file: string,
): SlidingWindow | null {
  const value = (key: string) => metadata.get(`${family}.${key}`);
  const tokens = value(WINDOW) ?? 0;
  if (tokens === 0) return null;
  if (typeof tokens !== 'number' || !Number.isSafeInteger(tokens) || tokens < 0) {
    throw corrupt(file, `${family}.${WINDOW}`, show(tokens), 'a number of tokens');
  }
  for (const [own, shared] of OWN) {
    if (value(own) !== undefined && value(own) !== value(shared)) {
      throw unsupported(file, `${family}.${own}`, value(own), `as ${family}.${shared}`);
    }
  }
  const pattern = value(PATTERN);
  const layers = Array.from({ length: layerCount }, (_, layer) => layer);
  if (pattern === undefined && family === 'llama') return { tokens, layers };
  if (!isFlags(pattern) || pattern.length !== layerCount) {
    throw unsupported(
      file,
      `${family}.${PATTERN}`,
      isFlags(pattern) ? `a list of ${pattern.length}` : pattern,
      `a list that says of each of the ${layerCount} layers whether it has the window of ${tokens} tokens`,
    );
  }
  const windowed = layers.filter((layer) => pattern[layer]);
  return windowed.length === 0 ? null : { tokens, layers: windowed };
}

function isFlags(value: GgufValue | undefined): value is readonly boolean[] {
  return Array.isArray(value);
}
