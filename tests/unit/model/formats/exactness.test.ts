import { describe, expect, it } from 'vitest';
import { openCheckpoint } from '../../../../src/model/open-checkpoint.ts';
import { dequantize } from '../../../../src/model/quantized.ts';
import type { Tensor } from '../../../../src/model/checkpoint.ts';
import { TINY_QWEN3 } from '../../../fixtures/architectures.ts';
import { configJson } from '../../../fixtures/config-json.ts';
import { MemorySource } from '../../../fixtures/memory-source.ts';
import { randomE4m3, randomInts, randomScales } from '../../../fixtures/random-bytes.ts';
import type { FloatDtype } from '../../../fixtures/random-bytes.ts';
import { rawSafetensors } from '../../../fixtures/raw-safetensors.ts';
import {
  awqReference,
  compressedTensorsReference,
  fp8Reference,
  gptqReference,
  mlxReference,
} from '../../../reference/stored-matrices.ts';
import type { StoredParts } from '../../../reference/stored-matrices.ts';

const STEM = 'model.layers.0.mlp.down_proj';
const CONFIG = configJson(TINY_QWEN3);

/** A matrix of random bits in one of the formats. */
interface Case {
  readonly label: string;
  readonly config: object;
  readonly shape: readonly [number, number];
  readonly parts: StoredParts;
  readonly expected: Float32Array;
  readonly layout: object | 'dense';
  /** It is not what its config promises, and takes more bytes than were said. */
  readonly isRare?: boolean;
}

async function open(config: object, parts: StoredParts) {
  const tensors = Object.fromEntries(Object.entries(parts).map(([suffix, part]) => [STEM + suffix, part]));
  return openCheckpoint(
    new MemorySource({
      'config.json': { ...CONFIG, ...config },
      'model.safetensors': rawSafetensors(tensors),
    }),
  );
}

function values(tensor: Tensor): Float32Array {
  return tensor.kind === 'quantized' ? dequantize(tensor) : new Float32Array(tensor.bytes.buffer);
}

function gptq(options: {
  readonly bits: number;
  readonly group: number;
  readonly version: 'gptq' | 'gptq_v2';
  readonly shape: readonly [number, number];
  readonly scales?: FloatDtype;
  readonly order?: 'trivial' | 'shuffled';
  readonly zeros?: number;
  /** Says that all zeros are one, and lies. */
  readonly lies?: boolean;
}): Case {
  const { bits, group, version, shape, order, zeros } = options;
  const [rows, columns] = shape;
  const perWord = 32 / bits;
  const groupSize = group === -1 ? columns : group;
  const groups = columns / groupSize;
  const scales = options.scales ?? 'F16';
  const ordered = Int32Array.from({ length: columns }, (_, column) =>
    Math.floor((order === 'shuffled' ? (column * 5 + 3) % columns : column) / groupSize),
  );
  const qzeros = randomInts('I32', [groups, rows / perWord], 2);
  const parts: StoredParts = {
    '.qweight': randomInts('I32', [columns / perWord, rows], 1),
    '.qzeros': zeros === undefined ? qzeros : { ...qzeros, bytes: qzeros.bytes.fill(zeros) },
    '.scales': randomScales(scales, [groups, rows], 3),
    ...(order && { '.g_idx': { dtype: 'I32', shape: [columns], bytes: new Uint8Array(ordered.buffer) } }),
  };
  const isSymmetric = zeros !== undefined;
  const kind = bits === 4 ? 'u4' : 'u8';
  const zero = zeros === undefined ? 0 : (zeros & (bits === 4 ? 15 : 255)) + (version === 'gptq' ? 1 : 0);
  const symmetricScales = scales === 'F16' ? 'f16' : 'f32';
  return {
    label: `GPTQ ${JSON.stringify(options)}`,
    config: {
      quantization_config: {
        quant_method: 'gptq',
        bits,
        group_size: group,
        checkpoint_format: version,
        sym: isSymmetric || options.lies === true,
        desc_act: order === 'shuffled',
      },
    },
    shape,
    parts,
    expected: gptqReference(parts, bits, groupSize, version === 'gptq' ? 1 : 0)(rows, columns),
    layout:
      order === 'shuffled'
        ? 'dense'
        : { codes: kind, zero, groupSize, scales: isSymmetric ? symmetricScales : 'f32-pair' },
    isRare: options.lies === true || (isSymmetric && scales === 'BF16'),
  };
}

function awq(groupSize: number, shape: readonly [number, number], scales: FloatDtype): Case {
  const [rows, columns] = shape;
  const groups = columns / groupSize;
  const parts: StoredParts = {
    '.qweight': randomInts('I32', [columns, rows / 8], 4),
    '.qzeros': randomInts('I32', [groups, rows / 8], 5),
    '.scales': randomScales(scales, [groups, rows], 6),
  };
  return {
    label: `AWQ ${shape.join(' x ')}, groups of ${groupSize}, ${scales}`,
    config: {
      quantization_config: {
        quant_method: 'awq',
        bits: 4,
        group_size: groupSize,
        zero_point: true,
        version: 'gemm',
      },
    },
    shape,
    parts,
    expected: awqReference(parts, groupSize)(rows, columns),
    layout: { codes: 'u4', zero: 0, groupSize, scales: 'f32-pair' },
  };
}

function mlx(bits: number, groupSize: number, shape: readonly [number, number], scales: FloatDtype): Case {
  const [rows, columns] = shape;
  const parts: StoredParts = {
    '.weight': randomInts('U32', [rows, (columns * bits) / 32], 7),
    '.scales': randomScales(scales, [rows, columns / groupSize], 8, { isSigned: true }),
    '.biases': randomScales(scales, [rows, columns / groupSize], 9, { isSigned: true }),
  };
  const settings = { group_size: groupSize, bits };
  return {
    label: `MLX ${bits} bits, groups of ${groupSize}, ${scales}`,
    config: { quantization: settings, quantization_config: settings },
    shape,
    parts,
    expected: mlxReference(parts, bits, groupSize)(rows, columns),
    layout: { codes: bits === 4 ? 'u4' : 'u8', zero: 0, groupSize, scales: 'f32-pair' },
  };
}

function compressedTensors(
  bits: number,
  group: number,
  shape: readonly [number, number],
  scales: FloatDtype,
  symmetric: boolean,
  isOrdinary = false,
): Case {
  const [rows, columns] = shape;
  const groupSize = group === -1 ? columns : group;
  const groups = columns / groupSize;
  const parts: StoredParts = {
    '.weight_packed': randomInts('I32', [rows, (columns * bits) / 32], 10),
    '.weight_scale': randomScales(scales, [rows, groups], 11, { isOrdinary }),
    '.weight_shape': randomInts('I64', [2], 12, 8),
    ...(!symmetric && {
      '.weight_zero_point': randomInts('I32', [Math.ceil((rows * bits) / 32), groups], 13),
    }),
  };
  const weights = {
    num_bits: bits,
    type: 'int',
    symmetric,
    strategy: group === -1 ? 'channel' : 'group',
    group_size: group === -1 ? null : group,
    actorder: null,
  };
  const symmetricScales = scales === 'F16' || isOrdinary ? 'f16' : 'f32';
  return {
    label: `compressed-tensors ${JSON.stringify({ ...weights, rows, scales, isOrdinary })}`,
    config: {
      quantization_config: {
        quant_method: 'compressed-tensors',
        format: 'pack-quantized',
        quantization_status: 'compressed',
        config_groups: {
          group_0: { weights, input_activations: null, output_activations: null, targets: ['Linear'] },
        },
        ignore: ['lm_head'],
        kv_cache_scheme: null,
      },
    },
    shape,
    parts,
    expected: compressedTensorsReference(parts, bits, groupSize)(rows, columns),
    layout: {
      codes: bits === 4 ? 'u4' : 'u8',
      zero: symmetric ? 2 ** (bits - 1) : 0,
      groupSize,
      scales: symmetric ? symmetricScales : 'f32-pair',
    },
    isRare: symmetric && scales === 'BF16' && !isOrdinary,
  };
}

function fp8(
  block: readonly [number, number],
  shape: readonly [number, number],
  scales: FloatDtype,
  groupSize: number | 'dense',
): Case {
  const [rows, columns] = shape;
  const parts: StoredParts = {
    '.weight': randomE4m3([rows, columns], 14),
    '.weight_scale_inv': randomScales(
      scales,
      [Math.ceil(rows / block[0]), Math.ceil(columns / block[1])],
      15,
    ),
  };
  return {
    label: `FP8 ${shape.join(' x ')}, blocks of ${block.join(' x ')}, ${scales}`,
    config: {
      quantization_config: {
        quant_method: 'fp8',
        fmt: 'e4m3',
        activation_scheme: 'dynamic',
        weight_block_size: block,
      },
    },
    shape,
    parts,
    expected: fp8Reference(parts, block)(rows, columns),
    layout: groupSize === 'dense' ? 'dense' : { codes: 'e4m3', zero: 0, groupSize, scales: 'f32' },
  };
}

const CASES: readonly Case[] = [
  gptq({ bits: 4, group: 32, version: 'gptq', shape: [24, 96] }),
  gptq({ bits: 4, group: 128, version: 'gptq_v2', shape: [8, 256] }),
  gptq({ bits: 4, group: -1, version: 'gptq', shape: [40, 72], order: 'trivial' }),
  gptq({ bits: 4, group: 32, version: 'gptq', shape: [16, 96], zeros: 0x77 }),
  gptq({ bits: 4, group: 32, version: 'gptq_v2', shape: [16, 96], zeros: 0x88, scales: 'BF16' }),
  gptq({ bits: 4, group: 32, version: 'gptq', shape: [16, 96], zeros: 0xff }),
  gptq({ bits: 4, group: 32, version: 'gptq', shape: [24, 128], order: 'shuffled' }),
  gptq({ bits: 4, group: 32, version: 'gptq', shape: [24, 96], lies: true }),
  gptq({ bits: 8, group: 32, version: 'gptq', shape: [24, 96], scales: 'BF16' }),
  gptq({ bits: 8, group: 64, version: 'gptq_v2', shape: [4, 128], zeros: 0x80 }),
  gptq({ bits: 8, group: 32, version: 'gptq', shape: [8, 96], order: 'shuffled' }),
  awq(32, [24, 96], 'F16'),
  awq(128, [8, 256], 'BF16'),
  awq(64, [72, 64], 'F16'),
  mlx(4, 32, [5, 96], 'F16'),
  mlx(4, 64, [7, 192], 'BF16'),
  mlx(4, 128, [3, 256], 'F32'),
  mlx(8, 32, [5, 96], 'BF16'),
  // Enough groups beside the extremes, and scales whose products with a code are not exact in f32.
  mlx(8, 32, [24, 256], 'F32'),
  mlx(8, 64, [9, 64], 'F16'),
  compressedTensors(4, 32, [13, 96], 'BF16', true),
  compressedTensors(4, 32, [13, 96], 'BF16', true, true),
  compressedTensors(4, 128, [5, 256], 'F16', true),
  compressedTensors(4, -1, [7, 72], 'F32', true),
  compressedTensors(4, 32, [13, 96], 'F16', false),
  compressedTensors(4, -1, [16, 64], 'BF16', false),
  compressedTensors(8, 64, [6, 128], 'BF16', true),
  compressedTensors(8, 32, [6, 96], 'F16', false),
  fp8([128, 128], [256, 256], 'F32', 128),
  fp8([128, 128], [130, 192], 'F32', 64),
  fp8([128, 128], [5, 136], 'BF16', 8),
  fp8([128, 128], [129, 131], 'F32', 'dense'),
  fp8([64, 32], [70, 96], 'F32', 32),
];

describe.each(CASES)('$label', ({ config, shape, parts, expected, layout, isRare }) => {
  it('has the values of the stored bytes, bit for bit', async () => {
    const tensor = await (await open(config, parts)).read(`${STEM}.weight`, shape);
    expect(bits(values(tensor))).toEqual(bits(expected));
  });

  it('is laid out as the format allows, and takes the bytes it said', async () => {
    const checkpoint = await open(config, parts);
    const tensor = await checkpoint.read(`${STEM}.weight`, shape);
    expect(tensor.kind === 'quantized' ? tensor.format : 'dense').toEqual(layout);
    const bytes =
      tensor.kind === 'quantized' ? tensor.codes.length + tensor.scales.length : tensor.bytes.length;
    const said = await checkpoint.sizeBytes(`${STEM}.weight`);
    if (isRare === true) expect(said).toBeLessThan(bytes);
    else expect(said).toBe(bytes);
  });
});

/** The sign of a zero counts too; NaNs are all one. */
function bits(floats: Float32Array): Uint32Array {
  return new Uint32Array(floats.map((value) => (Number.isNaN(value) ? NaN : value)).buffer);
}
