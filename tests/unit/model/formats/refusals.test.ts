import { describe, expect, it } from 'vitest';
import { parseQuantization } from '../../../../src/model/formats/quantization-config.ts';
import { openCheckpoint } from '../../../../src/model/open-checkpoint.ts';
import { TINY_QWEN3 } from '../../../fixtures/architectures.ts';
import { configJson } from '../../../fixtures/config-json.ts';
import { refusalOf } from '../../../fixtures/errors.ts';
import { MemorySource } from '../../../fixtures/memory-source.ts';
import { randomE4m3, randomInts, randomScales } from '../../../fixtures/random-bytes.ts';
import { rawSafetensors } from '../../../fixtures/raw-safetensors.ts';
import type { RawTensor } from '../../../fixtures/raw-safetensors.ts';

const GPTQ = { quant_method: 'gptq', bits: 4, group_size: 32 };
const AWQ = { quant_method: 'awq', bits: 4, group_size: 32 };
const FP8 = { quant_method: 'fp8', weight_block_size: [128, 128] };
const WEIGHTS = { num_bits: 4, type: 'int', strategy: 'group', group_size: 32 };
const PACKED = {
  quant_method: 'compressed-tensors',
  format: 'pack-quantized',
  config_groups: { a: { weights: WEIGHTS } },
};
const packed = (weights: object, group: object = {}) => ({
  ...PACKED,
  config_groups: { a: { weights: { ...WEIGHTS, ...weights }, ...group } },
});
const parse = (settings: unknown) => parseQuantization({ quantization_config: settings }, 'config.json');

describe('quantization_config', () => {
  it.each([
    ['GPTQ 4-bit', GPTQ],
    ['GPTQ 8-bit', { ...GPTQ, bits: 8, group_size: -1, dynamic: {} }],
    ['AWQ 4-bit', { ...AWQ, version: 'GEMM' }],
    ['FP8', FP8],
    ['compressed-tensors W4A16', PACKED],
    [
      'compressed-tensors W8A16',
      packed({ num_bits: 8, strategy: 'channel', group_size: null, actorder: 'static' }),
    ],
    ['MLX 4-bit', { bits: 4, group_size: 64, mode: 'affine' }],
  ])('says %s', (label, settings) => {
    expect(parse(settings)?.label).toBe(label);
  });

  it('is absent from a checkpoint of floats', () => {
    for (const config of [{}, { quantization_config: null }, null, 7]) {
      expect(parseQuantization(config, 'config.json')).toBeNull();
    }
  });

  it.each([
    ['quantization_config', 'yes'],
    ['quantization_config.quant_method', { quant_method: 'bitsandbytes' }],
    ['quantization_config.bits', { ...GPTQ, bits: 3 }],
    ['quantization_config.bits', { ...GPTQ, bits: '4' }],
    ['quantization_config.checkpoint_format', { ...GPTQ, checkpoint_format: 'marlin' }],
    ['quantization_config.is_marlin_format', { ...GPTQ, is_marlin_format: true }],
    ['quantization_config.dynamic', { ...GPTQ, dynamic: { '-:lm_head': {} } }],
    ['quantization_config.bits', { ...AWQ, bits: 8 }],
    ['quantization_config.version', { ...AWQ, version: 'gemv' }],
    ['quantization_config.zero_point', { ...AWQ, zero_point: false }],
    ['quantization_config.fmt', { ...FP8, fmt: 'e5m2' }],
    ['quantization_config.format', { ...PACKED, format: 'marlin-24' }],
    ['quantization_config.config_groups', { ...PACKED, config_groups: {} }],
    ['quantization_config.config_groups', { ...PACKED, config_groups: { a: {}, b: {} } }],
    ['quantization_config.config_groups.a.weights.type', packed({ type: 'float' })],
    ['quantization_config.config_groups.a.weights.num_bits', packed({ num_bits: 2 })],
    ['quantization_config.config_groups.a.weights.strategy', packed({ strategy: 'tensor' })],
    ['quantization_config.config_groups.a.weights.actorder', packed({ actorder: 'group' })],
    [
      'quantization_config.config_groups.a.input_activations',
      packed({}, { input_activations: { num_bits: 8 } }),
    ],
    ['quantization_config.sparsity_config', { ...PACKED, sparsity_config: { format: 'sparse-24' } }],
    ['quantization_config.mode', { bits: 4, group_size: 64, mode: 'mxfp4' }],
    ['quantization_config.bits', { bits: 6, group_size: 64 }],
    ['quantization_config.group_size', { bits: 4, group_size: 16 }],
    ['quantization_config.lm_head.bits', { bits: 4, group_size: 64, lm_head: { bits: 6, group_size: 64 } }],
  ])('names %s when Skein does not honour %j', async (field, settings) => {
    expect(await refusalOf(() => parse(settings))).toMatchObject({
      code: 'model-unsupported',
      data: { file: 'config.json', field },
    });
  });

  it.each([
    ['quantization_config.group_size', { ...GPTQ, group_size: 0 }],
    ['quantization_config.group_size', { ...AWQ, group_size: undefined }],
    ['quantization_config.group_size', { ...GPTQ, group_size: 1.5 }],
    ['quantization_config.weight_block_size', { ...FP8, weight_block_size: 128 }],
    ['quantization_config.weight_block_size', { ...FP8, weight_block_size: null }],
    ['quantization_config.config_groups.a.weights.group_size', packed({ group_size: null })],
    ['quantization_config.config_groups.a.weights.symmetric', packed({ symmetric: 'no' })],
  ])('names %s when it is senseless in %j', async (field, settings) => {
    const refusal = await refusalOf(() => parse(settings));
    expect(refusal).toMatchObject({ code: 'model-corrupt', data: { file: 'config.json' } });
    expect(String(refusal.data['field'])).toContain(field);
  });
});

const STEM = 'model.layers.0.mlp.down_proj';
const PARTS: Readonly<Record<string, RawTensor>> = {
  '.qweight': randomInts('I32', [8, 16], 1),
  '.qzeros': randomInts('I32', [2, 2], 2),
  '.scales': randomScales('F16', [2, 16], 3),
};

const folder = (parts: Readonly<Record<string, RawTensor>>, settings: object = GPTQ) =>
  new MemorySource({
    'config.json': { ...configJson(TINY_QWEN3), quantization_config: settings },
    'model.safetensors': rawSafetensors({
      'other.weight': randomInts('F8_E4M3', [5000], 9, 1),
      ...Object.fromEntries(Object.entries(parts).map(([suffix, part]) => [STEM + suffix, part])),
    }),
  });
const read = async (source: MemorySource, shape = [16, 64]) =>
  (await openCheckpoint(source)).read(`${STEM}.weight`, shape);

describe('a quantised matrix', () => {
  it('is read by the ranges of its parts', async () => {
    const source = folder(PARTS);
    const checkpoint = await openCheckpoint(source);
    expect([checkpoint.has(`${STEM}.weight`), checkpoint.has(`${STEM}.bias`)]).toEqual([true, false]);
    const before = source.reads.length;
    await checkpoint.read(`${STEM}.weight`, [16, 64]);
    expect(source.reads.slice(before).map(({ start, end }) => end - start)).toEqual([512, 16, 64]);
  });

  it.each(Object.keys(PARTS))('lacks its %s', async (suffix) => {
    const source = folder(Object.fromEntries(Object.entries(PARTS).filter(([name]) => name !== suffix)));
    const refusal = await refusalOf(() => read(source));
    expect(refusal).toMatchObject({ code: 'model-missing' });
    // Without its marker the matrix is a float tensor that is not there.
    expect(refusal.data['tensor']).toBe(STEM + (suffix === '.qweight' ? '.weight' : suffix));
  });

  it.each([
    ['.qweight', randomInts('I32', [16, 8], 1), '[16, 8]'],
    ['.qweight', { ...randomInts('I32', [8], 1), bytes: new Uint8Array(512) }, '[8]'],
    ['.qweight', randomInts('F32', [8, 16], 1), 'F32'],
    ['.qweight', { ...randomInts('I32', [8, 16], 1), bytes: new Uint8Array(508) }, '508'],
    ['.qzeros', randomInts('I32', [1, 2], 1), '[1, 2]'],
    ['.scales', randomScales('F32', [2, 16], 1), 'F32'],
    ['.scales', randomScales('F16', [16, 2], 1), '[16, 2]'],
    ['.g_idx', randomInts('I32', [63], 1), '[63]'],
  ])('has a %s of another kind (%#)', async (suffix, part, words) => {
    const refusal = await refusalOf(() => read(folder({ ...PARTS, [suffix]: part })));
    expect(refusal).toMatchObject({ code: 'model-corrupt', data: { tensor: STEM + suffix } });
    expect(refusal.message).toContain(words);
  });

  it('assigns an input to a group that is not there', async () => {
    const groups = Int32Array.from({ length: 64 }, (_, column) => (column === 40 ? 2 : 0));
    const gIdx = { dtype: 'I32', shape: [64], bytes: new Uint8Array(groups.buffer) };
    const refusal = await refusalOf(() => read(folder({ ...PARTS, '.g_idx': gIdx })));
    expect(refusal).toMatchObject({ code: 'model-corrupt', data: { tensor: `${STEM}.weight` } });
  });

  it.each([
    [[12, 64], GPTQ],
    [[16, 72], GPTQ],
    [[16, 64], { ...GPTQ, group_size: 4 }],
    [[12, 64], AWQ],
    [[16, 48], { ...AWQ, group_size: 64 }],
  ])('of shape %j cannot be laid out as %j', async (shape, settings) => {
    const refusal = await refusalOf(() => read(folder(PARTS, settings), shape));
    expect(refusal).toMatchObject({ code: 'model-unsupported', data: { tensor: `${STEM}.weight` } });
  });

  it('of a size that cannot be laid out has none that placement could count', async () => {
    const checkpoint = await openCheckpoint(folder(PARTS, { ...GPTQ, group_size: 48 }));
    const refusal = await refusalOf(() => checkpoint.sizeBytes(`${STEM}.weight`));
    expect(refusal).toMatchObject({ code: 'model-unsupported', data: { tensor: `${STEM}.weight` } });
  });

  describe.each([
    ['codes', [129, 136]],
    ['floats, its rows dividing into no groups', [5, 131]],
  ] as const)('of FP8 that becomes %s', (_name, shape) => {
    const [rows, columns] = shape;
    const fp8With = (index: number, code: number) => {
      const codes = randomE4m3(shape, 4);
      codes.bytes[index] = code;
      const blocks = [Math.ceil(rows / 128), Math.ceil(columns / 128)];
      return folder({ '.weight': codes, '.weight_scale_inv': randomScales('F32', blocks, 5) }, FP8);
    };

    it.each([0x7e, 0xfe, 0x80, 0x6f, 0xef, 0x78])(
      'may have any code that is a number, like %i',
      async (code) => {
        const tensor = await read(fp8With(columns + 3, code), [...shape]);
        expect(tensor.shape).toEqual(shape);
      },
    );

    it.each([
      ['0x7f', 0],
      ['0xff', columns + 1],
      ['0x7f', 2 * columns + 2],
      ['0xff', 3 * columns + 3],
      ['0x7f', rows * columns - 1],
    ])('has the code %s, which is none, at %i', async (code, index) => {
      const refusal = await refusalOf(() => read(fp8With(index, Number(code)), [...shape]));
      const element = `[${Math.floor(index / columns)}, ${index % columns}]`;
      expect(refusal).toMatchObject({
        code: 'model-corrupt',
        data: {
          file: expect.stringContaining('model.safetensors') as string,
          tensor: `${STEM}.weight`,
          element,
        },
      });
      expect(refusal.message).toContain(code);
    });
  });

  it('is not read where a vector is called for', async () => {
    expect((await refusalOf(() => read(folder(PARTS), [1024]))).code).toBe('model-corrupt');
  });
});
