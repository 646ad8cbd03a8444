import * as v from 'valibot';
import type { SkeinError } from '../../protocol/errors.ts';
import { show, unsupported } from '../config-errors.ts';
import { parseFields, size } from '../config-fields.ts';
import { isJsonObject } from '../json.ts';
import type { JsonObject } from '../json.ts';
import { awqFormat } from './awq.ts';
import { compressedTensorsFormat } from './compressed-tensors.ts';
import { fp8Format } from './fp8.ts';
import { gptqFormat } from './gptq.ts';
import { mlxFormat } from './mlx.ts';
import type { MlxOptions } from './mlx.ts';
import type { StoredFormat } from './stored-format.ts';

const MAX_GROUP_SIZE = 1 << 20;
const MAX_BLOCK_SIZE = 1 << 16;
const MLX_GROUP_SIZES = [32, 64, 128];
const METHODS = '"gptq", "awq", "compressed-tensors", "fp8", or MLX\'s group_size and bits';

/**
 * How the checkpoint's matrices are stored, from `quantization_config` of config.json, or `quantization` of MLX.
 * @returns null for a checkpoint of floats.
 * @throws SkeinError `model-unsupported` naming the field that Skein does not honour, `model-corrupt` for one that is missing or senseless.
 */
export function parseQuantization(config: unknown, file: string): StoredFormat | null {
  if (!isJsonObject(config)) return null;
  const field = isAbsent(config['quantization_config']) ? 'quantization' : 'quantization_config';
  const settings = config[field];
  if (isAbsent(settings)) return null;
  if (!isJsonObject(settings)) throw unsupported(file, field, settings, 'an object');
  const fields = new Settings(settings, file, field);
  switch (settings['quant_method']) {
    case 'gptq':
      return parseGptq(fields);
    case 'awq':
      return parseAwq(fields);
    case 'compressed-tensors':
      return parseCompressedTensors(fields);
    case 'fp8':
      return parseFp8(fields);
    case undefined:
      return parseMlx(fields);
    default:
      throw unsupported(file, `${field}.quant_method`, settings['quant_method'], METHODS);
  }
}

/** An object of the config, and how messages call its fields. */
class Settings {
  constructor(
    readonly values: JsonObject,
    private readonly file: string,
    private readonly path: string,
  ) {}

  /** @throws SkeinError `model-unsupported` unless the field is one of `accepted`. */
  require(name: string, accepted: readonly unknown[]): void {
    const value = this.values[name];
    if (accepted.includes(value)) return;
    const words = accepted.map((one) => (isAbsent(one) ? 'absent' : show(one)));
    throw this.refusal(name, [...new Set(words)].join(' or '));
  }

  refusal(name: string, supported: string): SkeinError {
    return unsupported(this.file, `${this.path}.${name}`, this.values[name], supported);
  }

  parse<Schema extends v.ObjectSchema<v.ObjectEntries, undefined>>(schema: Schema): v.InferOutput<Schema> {
    return parseFields(schema, this.values, this.file, `${this.path}.`);
  }

  inner(name: string): Settings {
    const value = this.values[name];
    if (!isJsonObject(value)) throw this.refusal(name, 'an object');
    return new Settings(value, this.file, `${this.path}.${name}`);
  }
}

/** −1 is one group per row. */
const groupSize = v.union([v.literal(-1), size(MAX_GROUP_SIZE)], '-1 or a whole number');
const fourOrEight = v.picklist([4, 8], '4 or 8');
const flag = v.nullish(v.boolean('true or false'));

function parseGptq(settings: Settings): StoredFormat {
  settings.require('bits', [4, 8]);
  settings.require('checkpoint_format', [undefined, null, 'gptq', 'gptq_v2']);
  settings.require('is_marlin_format', [undefined, null, false]);
  settings.require('pack_dtype', [undefined, null, 'int32']);
  refuseExceptions(settings, 'dynamic');
  const fields = settings.parse(
    v.object({ bits: fourOrEight, group_size: groupSize, sym: flag, desc_act: flag }),
  );
  return gptqFormat({
    bits: fields.bits,
    groupSize: fields.group_size,
    isSymmetric: fields.sym ?? true,
    isActOrder: fields.desc_act ?? false,
    zeroBias: settings.values['checkpoint_format'] === 'gptq_v2' ? 0 : 1,
  });
}

function parseAwq(settings: Settings): StoredFormat {
  settings.require('bits', [4]);
  settings.require('version', [undefined, null, 'gemm', 'GEMM']);
  settings.require('zero_point', [undefined, null, true]);
  return awqFormat(settings.parse(v.object({ group_size: groupSize })).group_size);
}

function parseCompressedTensors(settings: Settings): StoredFormat {
  settings.require('format', ['pack-quantized']);
  settings.require('quantization_status', [undefined, null, 'compressed']);
  settings.require('kv_cache_scheme', [undefined, null]);
  refuseExceptions(settings, 'sparsity_config');
  refuseExceptions(settings, 'transform_config');
  const groups = settings.inner('config_groups');
  const [only, ...others] = Object.keys(groups.values);
  if (only === undefined || others.length > 0)
    throw settings.refusal('config_groups', 'one group for all modules');
  const group = groups.inner(only);
  group.require('input_activations', [undefined, null]);
  group.require('output_activations', [undefined, null]);
  const weights = group.inner('weights');
  weights.require('type', [undefined, null, 'int']);
  weights.require('num_bits', [4, 8]);
  weights.require('strategy', ['group', 'channel']);
  // "group" permutes inputs; "static" and "weight" leave them where they were.
  weights.require('actorder', [undefined, null, false, 'static', 'weight']);
  const { num_bits: bits, symmetric } = weights.parse(v.object({ num_bits: fourOrEight, symmetric: flag }));
  const isChannel = weights.values['strategy'] === 'channel';
  const sizes = isChannel ? { group_size: -1 } : weights.parse(v.object({ group_size: groupSize }));
  return compressedTensorsFormat({ bits, groupSize: sizes.group_size, isSymmetric: symmetric ?? true });
}

function parseFp8(settings: Settings): StoredFormat {
  settings.require('fmt', [undefined, null, 'e4m3']);
  const extent = size(MAX_BLOCK_SIZE);
  const { weight_block_size: block } = settings.parse(
    v.object({
      weight_block_size: v.tuple([extent, extent], 'two whole numbers: rows and columns of a block'),
    }),
  );
  return fp8Format(block);
}

const mlxSchema = v.object({
  bits: fourOrEight,
  group_size: v.picklist(MLX_GROUP_SIZES, MLX_GROUP_SIZES.join(', ')),
});

function parseMlx(settings: Settings): StoredFormat {
  const general = mlxOptions(settings);
  const ofModule = new Map<string, MlxOptions>();
  for (const [name, value] of Object.entries(settings.values)) {
    if (!isJsonObject(value)) continue;
    ofModule.set(name, mlxOptions(settings.inner(name)));
  }
  return mlxFormat(`MLX ${general.bits}-bit`, (stem) => ofModule.get(stem) ?? general);
}

function mlxOptions(settings: Settings): MlxOptions {
  settings.require('mode', [undefined, null, 'affine']);
  settings.require('bits', [4, 8]);
  settings.require('group_size', MLX_GROUP_SIZES);
  const { bits, group_size: groupSize } = settings.parse(mlxSchema);
  return { bits, groupSize };
}

/** Settings for some modules only, or of another compression on top: empty objects and lists say nothing. */
function refuseExceptions(settings: Settings, name: string): void {
  const value = settings.values[name];
  const isEmpty = typeof value === 'object' && value !== null && Object.keys(value).length === 0;
  if (!isEmpty) settings.require(name, [undefined, null, false]);
}

function isAbsent(value: unknown): value is null | undefined {
  return value === undefined || value === null;
}
