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
 * What the largest value of a group may be divided by to give the scale. At 8 bits, the last code. At 4 bits the scale that rounds the
 * group with the least squared error: −8 gives the largest value the one code that is a step further out than all others, and the
 * rest stretch or squeeze the steps. One divisor, −8, costs 5 % more error and twice the likelihood.
 */
const INT8_DIVISORS = [127];
const INT4_DIVISORS = [-8, -7.6, -8.4, -8.8, 7, 7.4];

/** Rounds each group of a row to the nearest codes of the best scale. @param shape of the tensor, rows of whole groups. */
export function quantizeMatrix(
  tensor: DenseTensor,
  shape: readonly [rows: number, columns: number],
  format: QuantizedFormat,
): QuantizedMatrix {
  const values = denseFloats(tensor);
  const { zero } = format;
  const divisors = format.codes === 'u4' ? INT4_DIVISORS : INT8_DIVISORS;
  const groups = values.length / GROUP_SIZE;
  const largest = Float32Array.from({ length: groups }, (_, group) => largestOf(values, group * GROUP_SIZE));
  const halves = new Uint16Array(groups);
  const candidates = new Uint16Array(groups);
  const errors = new Float64Array(groups).fill(Infinity);
  for (const divisor of divisors) {
    writeHalves(
      largest.map((value) => value / divisor),
      candidates,
    );
    for (let group = 0; group < groups; group++) {
      const half = candidates[group] ?? 0;
      const error =
        divisors.length === 1 ? 0 : squaredError(values, group * GROUP_SIZE, halfToFloat(half), zero);
      if (error >= (errors[group] ?? 0)) continue;
      errors[group] = error;
      halves[group] = half;
    }
  }
  const codes = new Uint8Array(values.length);
  for (let group = 0; group < groups; group++) {
    const inverse = inverseOf(halfToFloat(halves[group] ?? 0));
    for (let index = group * GROUP_SIZE; index < (group + 1) * GROUP_SIZE; index++) {
      codes[index] = codeOf(values[index] ?? 0, inverse, zero);
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

/** A scale too small for a half makes its group zero. */
function inverseOf(scale: number): number {
  return scale === 0 ? 0 : 1 / scale;
}

function codeOf(value: number, inverse: number, zero: number): number {
  const code = value * inverse + zero + 0.5;
  if (code < 0) return 0;
  return code >= 2 * zero ? 2 * zero - 1 : code | 0;
}

/** Of the group that begins at `first`, rounded with this scale. */
function squaredError(values: Float32Array, first: number, scale: number, zero: number): number {
  const inverse = inverseOf(scale);
  let sum = 0;
  for (let index = first; index < first + GROUP_SIZE; index++) {
    const value = values[index] ?? 0;
    const error = scale * (codeOf(value, inverse, zero) - zero) - value;
    sum += error * error;
  }
  return sum;
}

/** The value of largest magnitude in the group that begins at `first`, with its sign. */
function largestOf(values: Float32Array, first: number): number {
  let least = 0;
  let greatest = 0;
  for (let index = first; index < first + GROUP_SIZE; index++) {
    const value = values[index] ?? 0;
    if (value < least) least = value;
    if (value > greatest) greatest = value;
  }
  return greatest > -least ? greatest : least;
}
