import * as v from 'valibot';
import { unsupported } from './config-errors.ts';
import { parseFields, size } from './config-fields.ts';
import type { SlidingWindow } from './architecture.ts';
import type { JsonObject } from './json.ts';

/** What Mistral, Qwen2 and Qwen3 use when the config does not say. */
const DEFAULT_WINDOW_TOKENS = 4096;
/** Of Qwen2 and Qwen3: layers from this one on have the window. */
const DEFAULT_MAX_WINDOW_LAYERS = 28;

const WINDOWED = 'sliding_attention';
const WHOLE = 'full_attention';

/**
 * Which layers see only the latest keys. Mistral has the window in every layer unless it is null; Qwen2 and Qwen3 where
 * `use_sliding_window` is set, in the layers that `layer_types` names, or else from `max_window_layers` on; Llama never.
 * @param modelType the config's `model_type`.
 * @returns null when every layer sees all keys.
 * @throws SkeinError naming the field: `model-unsupported` for what contradicts itself, `model-corrupt` for what is no number.
 */
export function parseSlidingWindow(
  config: JsonObject,
  modelType: string,
  layerCount: number,
  file: string,
): SlidingWindow | null {
  const isOn =
    modelType === 'mistral' ? config['sliding_window'] !== null : config['use_sliding_window'] === true;
  if (!isOn) {
    checkLayerTypes(config, [WHOLE], file);
    return null;
  }
  const { sliding_window: tokens, max_window_layers: maxWindowLayers } = parseFields(
    v.object({ sliding_window: size(Number.MAX_SAFE_INTEGER), max_window_layers: v.optional(v.unknown()) }),
    {
      sliding_window: config['sliding_window'] ?? DEFAULT_WINDOW_TOKENS,
      max_window_layers: config['max_window_layers'],
    },
    file,
  );
  const layers = Array.from({ length: layerCount }, (_, layer) => layer);
  if (modelType === 'mistral') {
    checkLayerTypes(config, [WINDOWED], file);
    return { tokens, layers };
  }
  const types = checkLayerTypes(config, [WINDOWED, WHOLE], file);
  if (types === null) {
    const firstLayer = firstWindowLayer(maxWindowLayers, file);
    return orNull({ tokens, layers: layers.filter((layer) => layer >= firstLayer) });
  }
  if (types.length !== layerCount) {
    throw unsupported(file, 'layer_types', types, `one for each of the ${layerCount} layers`);
  }
  return orNull({ tokens, layers: layers.filter((layer) => types[layer] === WINDOWED) });
}

function orNull(window: SlidingWindow): SlidingWindow | null {
  return window.layers.length === 0 ? null : window;
}

function firstWindowLayer(value: unknown, file: string): number {
  // 0, which a count of elements may not be, is all layers.
  if (value === 0) return 0;
  const schema = v.object({ max_window_layers: size(Number.MAX_SAFE_INTEGER) });
  const config = { max_window_layers: value ?? DEFAULT_MAX_WINDOW_LAYERS };
  return parseFields(schema, config, file).max_window_layers;
}

function checkLayerTypes(
  config: JsonObject,
  known: readonly string[],
  file: string,
): readonly unknown[] | null {
  const types: unknown = config['layer_types'];
  if (types === undefined || types === null) return null;
  if (isList(types) && types.every((type) => known.includes(String(type)))) return types;
  const names = known.map((name) => `"${name}"`).join(' or ');
  throw unsupported(file, 'layer_types', types, `absent, or ${names} for every layer`);
}

function isList(value: unknown): value is readonly unknown[] {
  return Array.isArray(value);
}
