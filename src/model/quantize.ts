import { halfToFloat, writeHalves } from '../protocol/half.ts';
import type { Quantization } from '../protocol/quantization.ts';
import { SkeinError } from '../protocol/errors.ts';
import type { Checkpoint, DenseTensor, Tensor } from './checkpoint.ts';
import { denseFloats } from './dense-floats.ts';
import { codeBytes, packNibbles, scaleBytes } from './quantized.ts';
import type { QuantizedFormat, QuantizedMatrix } from './quantized.ts';
import { EMBEDDING_TENSOR, HEAD_TENSOR, sliceTensors } from './tensor-names.ts';

const GROUP_SIZE = 32;
const INT4: QuantizedFormat = { codes: 'u4', zero: 8, groupSize: GROUP_SIZE, scales: 'f16' };
const INT8: QuantizedFormat = { codes: 'u8', zero: 128, groupSize: GROUP_SIZE, scales: 'f16' };

/**
 * The checkpoint with its matrices quantised as they are read: symmetric groups of 32 with an f16 scale. Embedding and head stay at 8
 * bits in `int4`: they are read by row or once per token, and every logit is a sum over one row. Norms, biases, and matrices whose
 * rows are not whole groups stay as they are.
 * @throws SkeinError `bad-argument` for a checkpoint whose matrices are quantised already.
 */
export function quantizedCheckpoint(checkpoint: Checkpoint, quantization: Quantization): Checkpoint {
  if (quantization === 'none') return checkpoint;
  if (checkpoint.quantization !== null) {
    throw new SkeinError(
      'bad-argument',
      `The model is quantised already (${checkpoint.quantization}) and cannot be loaded as ${quantization}. Leave out the quantisation.`,
      { data: { quantization } },
    );
  }
  const { architecture } = checkpoint;
  const shapes = new Map(
    sliceTensors(architecture, { layerStart: 0, layerEnd: architecture.layerCount }).map(
      ({ name, shape }) => [name, shape],
    ),
  );
  return {
    architecture,
    quantization: quantization === 'int4' ? '4-bit on load' : '8-bit on load',
    has: (name) => checkpoint.has(name),
    async sizeBytes(name, signal) {
      const storedBytes = await checkpoint.sizeBytes(name, signal);
      const shape = shapes.get(name) ?? [];
      const format = formatOf(name, shape, quantization);
      const elements = shape.reduce((product, extent) => product * extent, 1);
      return format ? codeBytes(format, elements) + scaleBytes(format, elements) : storedBytes;
    },
    async read(name, shape, signal): Promise<Tensor> {
      const tensor = await checkpoint.read(name, shape, signal);
      const format = formatOf(name, shape, quantization);
      const [rows, columns] = shape;
      if (!format || tensor.kind !== 'dense' || rows === undefined || columns === undefined) return tensor;
      return quantizeMatrix(tensor, [rows, columns], format);
    },
  };
}

function formatOf(
  name: string,
  shape: readonly number[],
  quantization: Exclude<Quantization, 'none'>,
): QuantizedFormat | null {
  const columns = shape[1];
  if (shape.length !== 2 || columns === undefined || columns % GROUP_SIZE !== 0) return null;
  const isVocabulary = name === EMBEDDING_TENSOR || name === HEAD_TENSOR;
  return quantization === 'int8' || isVocabulary ? INT8 : INT4;
}

/**
 * Rounds to the nearest code. The largest value of a group gets the code 0, which is one step further from the zero than the last code
 * is on the other side: the scale takes its sign, and no code is wasted.
 */
export function quantizeMatrix(
  tensor: DenseTensor,
  shape: readonly [rows: number, columns: number],
  format: QuantizedFormat,
): QuantizedMatrix {
  const values = denseFloats(tensor);
  const { zero } = format;
  const highest = 2 * zero - 1;
  const codes = new Uint8Array(values.length);
  const halves = new Uint16Array(values.length / GROUP_SIZE);
  const scale = new Float32Array(1);
  for (let first = 0; first < values.length; first += GROUP_SIZE) {
    const group = first / GROUP_SIZE;
    scale[0] = largestOf(values, first) / -zero;
    writeHalves(scale, halves.subarray(group, group + 1));
    const step = halfToFloat(halves[group] ?? 0);
    // A scale too small for a half makes the whole group zero.
    const inverse = step === 0 ? 0 : 1 / step;
    for (let index = first; index < first + GROUP_SIZE; index++) {
      const code = Math.round((values[index] ?? 0) * inverse) + zero;
      codes[index] = Math.min(highest, Math.max(0, code));
    }
  }
  return {
    kind: 'quantized',
    name: tensor.name,
    format,
    shape,
    codes: format.codes === 'u4' ? packNibbles(codes) : codes,
    scales: new Uint8Array(halves.buffer),
  };
}

/** The value of largest magnitude in a group, with its sign. */
function largestOf(values: Float32Array, first: number): number {
  let largest = 0;
  for (let index = first; index < first + GROUP_SIZE; index++) {
    const value = values[index] ?? 0;
    if (Math.abs(value) > Math.abs(largest)) largest = value;
  }
  return largest;
}
