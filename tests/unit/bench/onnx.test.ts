import { describe, expect, it } from 'vitest';
import { encodeElements } from '../../reference/number-formats.ts';
import { dequantize, packNibbles } from '../../../src/model/quantized.ts';
import type { QuantizedMatrix } from '../../../src/model/quantized.ts';
import { encodeMessage, float, integer, message, text } from '../../bench/onnx/protobuf.ts';
import { nBitsMatrix, transpose } from '../../bench/onnx/weights-file.ts';
import { refusalOf } from '../../fixtures/errors.ts';

describe('protocol buffers', () => {
  it('writes the examples of the specification', () => {
    expect([...encodeMessage([[1, integer(150)]])]).toEqual([0x08, 0x96, 0x01]);
    expect([...encodeMessage([[2, text('testing')]])]).toEqual([
      0x12,
      7,
      ...new TextEncoder().encode('testing'),
    ]);
    expect([...encodeMessage([[3, message([[1, integer(150)]])]])]).toEqual([0x1a, 3, 0x08, 0x96, 0x01]);
  });

  it('writes negative numbers as ten bytes, floats as four, and field numbers over 15 in two', () => {
    expect([...encodeMessage([[1, integer(-2)]])]).toEqual([
      0x08,
      0xfe,
      ...Array<number>(8).fill(0xff),
      0x01,
    ]);
    expect([...encodeMessage([[20, float(1)]])]).toEqual([0xa5, 0x01, 0, 0, 0x80, 0x3f]);
  });
});

it('transposes', () => {
  expect([...transpose(Float32Array.of(1, 2, 3, 4, 5, 6), [2, 3])]).toEqual([1, 4, 2, 5, 3, 6]);
});

describe('MatMulNBits', () => {
  const codes = Uint8Array.from({ length: 32 }, (_, index) => (index * 7 + 3) % 16);
  const matrix = (codes4: Uint8Array, zero = 8): QuantizedMatrix => ({
    kind: 'quantized',
    name: 'w',
    format: { codes: 'u4', zero, groupSize: 16, scales: 'f16' },
    shape: [2, 16],
    codes: packNibbles(codes4),
    scales: encodeElements('f16', Float64Array.of(0.5, -0.25)),
  });

  it('means the same numbers in its order of nibbles', () => {
    const { bits, groupSize, codes: packed, scales } = nBitsMatrix(matrix(codes));
    expect([bits, groupSize]).toEqual([4, 16]);
    const values = Array.from({ length: 32 }, (_, index) => {
      const byte = packed[index >> 1] ?? 0;
      const code = index % 2 === 0 ? byte & 15 : byte >> 4;
      return (code - 8) * (scales[Math.floor(index / 16)] ?? NaN);
    });
    expect(values).toEqual([...dequantize(matrix(codes))]);
  });

  it('takes no other zero than the middle', async () => {
    expect((await refusalOf(() => nBitsMatrix(matrix(codes, 0)))).code).toBe('model-unsupported');
  });
});
