import { open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { denseFloats } from '../../../src/model/dense-floats.ts';
import { codeAt, CODE_BITS, dequantize } from '../../../src/model/quantized.ts';
import type { QuantizedMatrix } from '../../../src/model/quantized.ts';
import type { Tensor } from '../../../src/model/checkpoint.ts';
import { SkeinError } from '../../../src/protocol/errors.ts';
import { halfToFloat } from '../../../src/protocol/half.ts';
import type { ElementType, OnnxTensor } from './onnx-model.ts';

/** Writes weights one behind the other into the file beside the graph (ONNX's external data). The caller closes it. */
export class WeightsFile {
  readonly tensors: OnnxTensor[] = [];
  #sizeBytes = 0;

  private constructor(
    private readonly fileName: string,
    private readonly handle: FileHandle,
  ) {}

  static async create(folder: string, fileName: string): Promise<WeightsFile> {
    return new WeightsFile(fileName, await open(join(folder, fileName), 'w'));
  }

  async add(
    name: string,
    type: ElementType,
    shape: readonly number[],
    values: Float32Array | Uint8Array | Int32Array | BigInt64Array,
  ): Promise<string> {
    const content = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    await this.handle.write(content, 0, content.length, this.#sizeBytes);
    const data = { file: this.fileName, offset: this.#sizeBytes, sizeBytes: content.length };
    this.tensors.push({ name, type, shape, data });
    this.#sizeBytes += content.length;
    return name;
  }

  async close(): Promise<void> {
    await this.handle.close();
  }
}

/** Every element as an f32. */
export function floatsOf(tensor: Tensor): Float32Array<ArrayBuffer> {
  return tensor.kind === 'quantized' ? dequantize(tensor) : denseFloats(tensor);
}

/** @param values [rows, columns] @returns [columns, rows]: ONNX multiplies by matrices stored [in, out] */
export function transpose(
  values: Float32Array,
  [rows, columns]: readonly [number, number],
): Float32Array<ArrayBuffer> {
  const transposed = new Float32Array(values.length);
  for (let row = 0; row < rows; row++) {
    const first = row * columns;
    for (let column = 0; column < columns; column++) {
      transposed[column * rows + row] = values[first + column] ?? 0;
    }
  }
  return transposed;
}

/** A matrix as MatMulNBits takes it: the same codes in its order, the same scales in f32. */
export interface NBitsMatrix {
  readonly bits: number;
  readonly groupSize: number;
  /** [rows, groups, group size · bits / 8]; 4-bit: byte j of a group holds element 2j in its low and 2j + 1 in its high nibble. */
  readonly codes: Uint8Array<ArrayBuffer>;
  /** [rows, groups] */
  readonly scales: Float32Array<ArrayBuffer>;
}

/** @throws SkeinError `model-unsupported` for zeros and offsets that MatMulNBits does not take without a table of them. */
export function nBitsMatrix(matrix: QuantizedMatrix): NBitsMatrix {
  const { name, format, shape, scales } = matrix;
  const bits = CODE_BITS[format.codes];
  if (format.codes === 'e4m3' || format.zero !== 2 ** (bits - 1) || format.scales === 'f32-pair') {
    throw new SkeinError('model-unsupported', `MatMulNBits takes symmetric integers; ${name} is not.`);
  }
  const elements = shape[0] * shape[1];
  const view = new DataView(scales.buffer, scales.byteOffset, scales.byteLength);
  const readScale =
    format.scales === 'f16'
      ? (group: number) => halfToFloat(view.getUint16(2 * group, true))
      : (group: number) => view.getFloat32(4 * group, true);
  return {
    bits,
    groupSize: format.groupSize,
    codes: bits === 8 ? matrix.codes : packPairs(matrix, elements),
    scales: Float32Array.from({ length: elements / format.groupSize }, (_, group) => readScale(group)),
  };
}

function packPairs(matrix: QuantizedMatrix, elements: number): Uint8Array<ArrayBuffer> {
  const packed = new Uint8Array(elements / 2);
  for (let byte = 0; byte < packed.length; byte++) {
    packed[byte] = codeAt(matrix, 2 * byte) | (codeAt(matrix, 2 * byte + 1) << 4);
  }
  return packed;
}
