import * as v from 'valibot';
import { MAX_SEQUENCE_TOKENS } from '../protocol/limits.ts';
import { unsupported } from './config-errors.ts';
import { parseFields, positive, size } from './config-fields.ts';
import { isJsonObject } from './json.ts';
import type { Architecture, Llama3RopeScaling } from './architecture.ts';
import type { JsonObject } from './json.ts';

/** What every supported family uses when the config does not say. */
const DEFAULT_ROPE_THETA = 10_000;

const llama3Schema = v.object({
  factor: positive,
  low_freq_factor: positive,
  high_freq_factor: positive,
  original_max_position_embeddings: size(MAX_SEQUENCE_TOKENS),
});

/**
 * Rotary settings, in the form of transformers 4 (`rope_theta` beside `rope_scaling`) or 5 (`rope_parameters` with both).
 * Where a file has both forms, `rope_scaling` wins, as in transformers 5.
 */
export function parseRope(config: JsonObject, file: string): Pick<Architecture, 'ropeTheta' | 'ropeScaling'> {
  const field = isAbsent(config['rope_scaling']) ? 'rope_parameters' : 'rope_scaling';
  const settings = config[field] ?? {};
  if (!isFlatObject(settings)) {
    throw unsupported(file, field, settings, 'null or one set of settings for all layers');
  }
  const theta = settings['rope_theta'] ?? config['rope_theta'] ?? DEFAULT_ROPE_THETA;
  const { rope_theta: ropeTheta } = parseFields(
    v.object({ rope_theta: positive }),
    { rope_theta: theta },
    file,
  );
  const factor = settings['partial_rotary_factor'] ?? 1;
  if (factor !== 1) throw unsupported(file, `${field}.partial_rotary_factor`, factor, '1');
  return { ropeTheta, ropeScaling: parseScaling(settings, field, file) };
}

function parseScaling(settings: JsonObject, field: string, file: string): Llama3RopeScaling | null {
  const type = settings['rope_type'] ?? settings['type'] ?? 'default';
  if (type === 'default') return null;
  if (type !== 'llama3') throw unsupported(file, `${field}.rope_type`, type, '"default" or "llama3"');
  const llama3 = parseFields(llama3Schema, settings, file, `${field}.`);
  if (llama3.high_freq_factor <= llama3.low_freq_factor) {
    throw unsupported(
      file,
      `${field}.high_freq_factor`,
      llama3.high_freq_factor,
      `greater than low_freq_factor (${llama3.low_freq_factor})`,
    );
  }
  return {
    kind: 'llama3',
    factor: llama3.factor,
    lowFrequencyFactor: llama3.low_freq_factor,
    highFrequencyFactor: llama3.high_freq_factor,
    originalContextLength: llama3.original_max_position_embeddings,
  };
}

function isAbsent(value: unknown): boolean {
  return value === undefined || value === null;
}

/** Settings per layer type are objects within the object. */
function isFlatObject(value: unknown): value is JsonObject {
  return (
    isJsonObject(value) && Object.values(value).every((inner) => typeof inner !== 'object' || inner === null)
  );
}
