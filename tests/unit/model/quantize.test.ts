import { describe, expect, it } from 'vitest';
import { openCheckpoint } from '../../../src/model/open-checkpoint.ts';
import { quantizedCheckpoint, quantizeMatrix } from '../../../src/model/quantize.ts';
import { codeAt, dequantize } from '../../../src/model/quantized.ts';
import type { QuantizedFormat } from '../../../src/model/quantized.ts';
import { sliceTensors } from '../../../src/model/tensor-names.ts';
import { TINY_QWEN2, TINY_QWEN3 } from '../../fixtures/architectures.ts';
import { configJson } from '../../fixtures/config-json.ts';
import { refusalOf } from '../../fixtures/errors.ts';
import { MemorySource } from '../../fixtures/memory-source.ts';
import { randomNormal, randomTensors } from '../../fixtures/random-model.ts';
import { safetensorsFile } from '../../fixtures/safetensors-file.ts';

const INT4: QuantizedFormat = { codes: 'u4', zero: 8, groupSize: 32, scales: 'f16' };
const INT8: QuantizedFormat = { codes: 'u8', zero: 128, groupSize: 32, scales: 'f16' };

function quantize(values: readonly number[], format: QuantizedFormat) {
  const bytes = new Uint8Array(Float32Array.from(values).buffer);
  const shape = [values.length / 32, 32] as const;
  return quantizeMatrix({ kind: 'dense', name: 'x', format: 'f32', shape, bytes }, shape, format);
}

const random = randomNormal(4);
const normal = Array.from({ length: 64 * 32 }, () => 0.02 * random());

function relativeError(format: QuantizedFormat): number {
  const rounded = dequantize(quantize(normal, format));
  const error = normal.reduce((sum, value, index) => sum + ((rounded[index] ?? NaN) - value) ** 2, 0);
  return Math.sqrt(error / normal.reduce((sum, value) => sum + value ** 2, 0));
}

describe('quantizeMatrix', () => {
  it('rounds to the nearest step, and no further', () => {
    const rounded = quantize(normal, INT8);
    const values = dequantize(rounded);
    const scales = new Uint16Array(rounded.scales.buffer);
    expect(new Set(scales).size).toBeGreaterThan(10);
    normal.forEach((value, index) => {
      const group = normal.slice(index - (index % 32), index - (index % 32) + 32);
      const step = Math.max(...group.map(Math.abs)) / 127;
      // Half a step, and what rounding the scale to 11 bits adds over 127 steps.
      expect(Math.abs((values[index] ?? NaN) - value)).toBeLessThanOrEqual(step * (0.5 + 127 / 2 ** 11));
    });
  });

  it('at 4 bits loses less than steps of a seventh or an eighth of the largest value', () => {
    expect(relativeError(INT8)).toBeLessThan(0.006);
    const error = relativeError(INT4);
    const plain = (divisor: number): number => {
      let sum = 0;
      for (let first = 0; first < normal.length; first += 32) {
        const group = normal.slice(first, first + 32);
        const largest = group.reduce((a, b) => (Math.abs(b) > Math.abs(a) ? b : a));
        const step = (divisor < 0 ? largest : Math.abs(largest)) / divisor;
        for (const value of group) {
          sum += (Math.min(7, Math.max(-8, Math.round(value / step))) * step - value) ** 2;
        }
      }
      return Math.sqrt(sum / normal.reduce((total, value) => total + value ** 2, 0));
    };
    expect(error).toBeLessThan(0.97 * Math.min(plain(-8), plain(7)));
  });

  it('gives a negative and a positive extreme their codes', () => {
    for (const sign of [1, -1]) {
      const matrix = quantize(
        Array.from({ length: 32 }, (_, index) => (index === 5 ? sign : 0)),
        INT4,
      );
      expect(dequantize(matrix)[5]).toBeCloseTo(sign, 2);
      expect(codeAt(matrix, 0)).toBe(8);
    }
  });

  it.each([INT4, INT8])('keeps zeros, and numbers too small for a scale become zero (%#)', (format) => {
    const tiny = quantize(Array<number>(32).fill(1e-9), format);
    expect(dequantize(tiny).every((value) => value === 0)).toBe(true);
    expect(dequantize(quantize(Array<number>(32).fill(0), format)).every((value) => value === 0)).toBe(true);
  });
});

const architecture = {
  ...TINY_QWEN3,
  hiddenSize: 64,
  intermediateSize: 96,
  headDim: 8,
  tiedEmbedding: false,
};
const source = (config: object = configJson(architecture)) =>
  new MemorySource({
    'config.json': config,
    'model.safetensors': safetensorsFile(randomTensors({ architecture, format: 'bf16' })),
  });
const specs = sliceTensors(architecture, { layerStart: 0, layerEnd: architecture.layerCount });

describe('quantizedCheckpoint', () => {
  it.each(['int4', 'int8'] as const)(
    '%s: matrices, and nothing else, at the size it said',
    async (quantization) => {
      const stored = await openCheckpoint(source());
      const checkpoint = quantizedCheckpoint(stored, quantization);
      for (const { name, shape } of specs) {
        const tensor = await checkpoint.read(name, shape);
        const bytes =
          tensor.kind === 'quantized' ? tensor.codes.length + tensor.scales.length : tensor.bytes.length;
        expect(await checkpoint.sizeBytes(name)).toBe(bytes);
        if (shape.length === 1) expect(tensor).toEqual(await stored.read(name, shape));
        else {
          const isVocabulary = name.startsWith('lm_head') || name.startsWith('model.embed');
          expect(tensor).toMatchObject({
            kind: 'quantized',
            format: quantization === 'int4' && !isVocabulary ? INT4 : INT8,
          });
        }
      }
    },
  );

  it('leaves rows that are not whole groups as they are', async () => {
    const other = { ...TINY_QWEN2, intermediateSize: 64 };
    const stored = await openCheckpoint(
      new MemorySource({
        'config.json': configJson(other),
        'model.safetensors': safetensorsFile(randomTensors({ architecture: other, format: 'f16' })),
      }),
    );
    const checkpoint = quantizedCheckpoint(stored, 'int4');
    const up = 'model.layers.0.mlp.up_proj.weight';
    expect(await checkpoint.read(up, [64, 40])).toEqual(await stored.read(up, [64, 40]));
    expect(await checkpoint.sizeBytes(up)).toBe(2 * 64 * 40);
    expect(await checkpoint.read('model.layers.0.mlp.down_proj.weight', [40, 64])).toMatchObject({
      format: INT4,
    });
  });

  it('is the checkpoint itself for "none"', async () => {
    const stored = await openCheckpoint(source());
    expect(quantizedCheckpoint(stored, 'none')).toBe(stored);
  });

  it('refuses what is quantised already', async () => {
    const config = { ...configJson(architecture), quantization: { bits: 4, group_size: 64 } };
    const stored = await openCheckpoint(source(config));
    const refusal = await refusalOf(() => quantizedCheckpoint(stored, 'int4'));
    expect(refusal).toMatchObject({ code: 'bad-argument', data: { quantization: 'int4' } });
    expect(refusal.message).toContain('MLX 4-bit');
  });
});
