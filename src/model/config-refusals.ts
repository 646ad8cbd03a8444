import { unsupported } from './config-errors.ts';
import type { ModelFamily } from './architecture.ts';
import type { JsonObject } from './json.ts';

/** A `model_type` whose layers are those of a family. */
export interface ModelType {
  readonly name: string;
  readonly family: ModelFamily;
  readonly className: string;
}

const MODEL_TYPES: readonly ModelType[] = [
  { name: 'llama', family: 'llama', className: 'LlamaForCausalLM' },
  { name: 'mistral', family: 'llama', className: 'MistralForCausalLM' },
  { name: 'qwen2', family: 'qwen2', className: 'Qwen2ForCausalLM' },
  { name: 'qwen3', family: 'qwen3', className: 'Qwen3ForCausalLM' },
];

interface Requirement {
  readonly field: string;
  readonly supported: string;
  readonly accepts: (value: unknown) => boolean;
  /** Model types to which the field means something; all when absent. */
  readonly types?: readonly string[];
}

const isAbsent = (value: unknown): boolean => value === undefined || value === null;
const isOff = (value: unknown): boolean => isAbsent(value) || value === false;

/** Switches that change the arithmetic in a way the engine does not know. A wrong answer would read like a right one. */
const REQUIREMENTS: readonly Requirement[] = [
  { field: 'hidden_act', supported: '"silu"', accepts: (value) => isAbsent(value) || value === 'silu' },
  {
    field: 'compression_config',
    supported: 'absent (its newer form is quantization_config)',
    accepts: isAbsent,
  },
  { field: 'mlp_bias', supported: 'false', accepts: isOff },
  {
    field: 'attention_bias',
    supported: 'false, because it puts a bias on the output projection too',
    accepts: isOff,
    // Qwen2 has its biases whatever this says.
    types: ['llama', 'mistral', 'qwen3'],
  },
  {
    field: 'partial_rotary_factor',
    supported: '1',
    accepts: (value) => isAbsent(value) || value === 1,
  },
  { field: 'dual_chunk_attention_config', supported: 'absent', accepts: isAbsent },
  {
    field: 'sliding_window',
    supported: 'null (attention over the whole context)',
    accepts: isAbsent,
    types: ['llama'],
  },
  {
    field: 'use_sliding_window',
    supported: 'false',
    accepts: isOff,
    types: ['llama'],
  },
];

/** @throws SkeinError `model-unsupported` naming the first field the engine cannot honour. */
export function identifyModelType(config: JsonObject, file: string): ModelType {
  const type = MODEL_TYPES.find(({ name }) => name === config['model_type']);
  if (!type) {
    const known = MODEL_TYPES.map(({ name }) => `"${name}"`).join(', ');
    throw unsupported(file, 'model_type', config['model_type'], `one of ${known}`);
  }
  const architectures = config['architectures'];
  if (!isAbsent(architectures) && !(Array.isArray(architectures) && architectures[0] === type.className)) {
    throw unsupported(file, 'architectures', architectures, `["${type.className}"]`);
  }
  for (const { field, supported, accepts, types } of REQUIREMENTS) {
    if (types && !types.includes(type.name)) continue;
    if (!accepts(config[field])) throw unsupported(file, field, config[field], supported);
  }
  return type;
}
